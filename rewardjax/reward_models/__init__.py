"""Training losses of learned rewards; the networks are in `models`."""

from rewardjax.reward_models import process

__all__ = ["process"]
