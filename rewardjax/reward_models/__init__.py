"""What learned rewards are trained on; their networks are in `models`."""

from rewardjax.reward_models import decomposition, factors

__all__ = ["decomposition", "factors"]
