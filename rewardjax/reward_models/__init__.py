"""How learned rewards are trained, and read: losses, never networks."""

from rewardjax.reward_models import (
    decomposition,
    factors,
    outcome,
    process,
    spread,
)

__all__ = ["decomposition", "factors", "outcome", "process", "spread"]
