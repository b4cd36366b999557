"""What is minimised: surrogates, regularisers and value losses, unreduced."""

from rewardjax.objectives import (
    low_probability,
    outcome,
    policy_gradient,
    regularizers,
    value,
)

__all__ = [
    "low_probability",
    "outcome",
    "policy_gradient",
    "regularizers",
    "value",
]
