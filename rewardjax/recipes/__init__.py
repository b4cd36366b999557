"""One function a paper: compositions of the rooms, no formulas of their own."""

from rewardjax.recipes import (
    actor_critic,
    agreement,
    credit,
    decoupled,
    exploration,
    exploration_credit,
    flow,
    likelihood,
    losses,
    multi_reward,
    oreal,
    policy_gradient,
    process,
    recommendation,
    turns,
    two_level,
)

__all__ = [
    "actor_critic",
    "agreement",
    "credit",
    "decoupled",
    "exploration",
    "exploration_credit",
    "flow",
    "likelihood",
    "losses",
    "multi_reward",
    "oreal",
    "policy_gradient",
    "process",
    "recommendation",
    "turns",
    "two_level",
]
