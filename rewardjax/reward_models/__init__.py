"""How learned rewards are trained, and read: losses, never networks."""

from rewardjax.reward_models import outcome, process

__all__ = ["outcome", "process"]
