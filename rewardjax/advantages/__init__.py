"""Who gets the credit: groups, time, placement and off-policy weights."""

from rewardjax.advantages import (
    dynamic_sampling,
    group,
    off_policy,
    placement,
    process,
    running,
    temporal,
)

__all__ = [
    "dynamic_sampling",
    "group",
    "off_policy",
    "placement",
    "process",
    "running",
    "temporal",
]
