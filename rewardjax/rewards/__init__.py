"""What scores a sample: verifiers, likelihood, agreement, form, formulas."""

from rewardjax.rewards import (
    agreement,
    consistency,
    likelihood,
    patterns,
    routes,
    verifiers,
)

__all__ = [
    "agreement",
    "consistency",
    "likelihood",
    "patterns",
    "routes",
    "verifiers",
]
