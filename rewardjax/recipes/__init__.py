"""One function a paper: compositions of the rooms, no formulas of their own."""

from rewardjax.recipes import (
    actor_critic,
    credit,
    decoupled,
    flow,
    losses,
    policy_gradient,
    recommendation,
    turns,
)

__all__ = [
    "actor_critic",
    "credit",
    "decoupled",
    "flow",
    "losses",
    "policy_gradient",
    "recommendation",
    "turns",
]
