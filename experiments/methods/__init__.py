"""The hand-written half of `docs/methods.md`; no measured number is here.

Functions are dotted names below `rewardjax`, tests are files; that both
exist is tested. Measured numbers come from `docs/results`.
"""

from experiments.methods import (
    baselines,
    credit,
    data,
    learned_pairs,
    learned_rewards_in_rl,
    noise,
    policy_objectives,
    process_rewards,
    reward_benchmarks,
    rewards,
)
from experiments.methods.row import Method

__all__ = ["METHODS", "Method"]

METHODS: tuple[Method, ...] = (
    *baselines.METHODS,
    *policy_objectives.METHODS,
    *rewards.METHODS,
    *credit.METHODS,
    *noise.METHODS,
    *data.METHODS,
    *learned_rewards_in_rl.METHODS,
    *process_rewards.METHODS,
    *reward_benchmarks.METHODS,
    *learned_pairs.METHODS,
)
