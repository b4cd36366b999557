"""What scores a sample: verifiers, likelihood, agreement, form, formulas."""

from rewardjax.rewards import (
    agreement,
    consistency,
    flow,
    likelihood,
    marks,
    patterns,
    routes,
    steps,
    variants,
    verifiers,
)

__all__ = [
    "agreement",
    "consistency",
    "flow",
    "likelihood",
    "marks",
    "patterns",
    "routes",
    "steps",
    "variants",
    "verifiers",
]
