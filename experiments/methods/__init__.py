"""The hand-written half of `docs/methods.md`; no measured number is here.

Functions are dotted names below `rewardjax`, tests are files; that both
exist is tested. Measured numbers come from `docs/results`.
"""

from experiments.methods import (
    baselines,
    data_and_noise,
    policy_objectives,
    rewards_and_credit,
)
from experiments.methods.row import Method

__all__ = ["METHODS", "Method"]

METHODS: tuple[Method, ...] = (
    *baselines.METHODS,
    *policy_objectives.METHODS,
    *rewards_and_credit.METHODS,
    *data_and_noise.METHODS,
)
