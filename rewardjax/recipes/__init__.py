"""One function a paper: compositions of the rooms, no formulas of their own."""

from rewardjax.recipes import (
    actor_critic,
    agreement,
    credit,
    decoupled,
    likelihood,
    losses,
    multi_reward,
    policy_gradient,
    process,
    two_level,
)

__all__ = [
    "actor_critic",
    "agreement",
    "credit",
    "decoupled",
    "likelihood",
    "losses",
    "multi_reward",
    "policy_gradient",
    "process",
    "two_level",
]
