"""What is minimised: surrogates, regularisers and value losses, unreduced."""

from rewardjax.objectives import policy_gradient, regularizers, value

__all__ = ["policy_gradient", "regularizers", "value"]
