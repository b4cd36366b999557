"""One function a paper: compositions of the rooms, no formulas of their own."""

from rewardjax.recipes import (
    actor_critic,
    credit,
    decoupled,
    exploration,
    exploration_credit,
    losses,
    oreal,
    policy_gradient,
)

__all__ = [
    "actor_critic",
    "credit",
    "decoupled",
    "exploration",
    "exploration_credit",
    "losses",
    "oreal",
    "policy_gradient",
]
