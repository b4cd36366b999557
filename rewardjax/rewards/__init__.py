"""What scores a sample: verifiers, likelihood, agreement, form, formulas."""

from rewardjax.rewards import (
    agreement,
    binary_token,
    consistency,
    flow,
    likelihood,
    marks,
    paired,
    patterns,
    routes,
    steps,
    variants,
    verifiers,
)

__all__ = [
    "agreement",
    "binary_token",
    "consistency",
    "flow",
    "likelihood",
    "marks",
    "paired",
    "patterns",
    "routes",
    "steps",
    "variants",
    "verifiers",
]
