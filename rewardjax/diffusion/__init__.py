"""Diffusion and flow: schedules, steps, samplers with log-densities, losses.

Time t runs from 1, noise, to 0, data. A sample is `x [N, ...]`; what follows
N is the event. Networks enter as functions of `(x, t)` or as what they gave.
"""

from rewardjax.diffusion import (
    guidance,
    objectives,
    one_step,
    samplers,
    schedules,
    transitions,
)

__all__ = [
    "guidance",
    "objectives",
    "one_step",
    "samplers",
    "schedules",
    "transitions",
]
