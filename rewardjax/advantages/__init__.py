"""Who gets the credit: groups, time, placement and off-policy weights."""

from rewardjax.advantages import (
    distribution,
    dynamic_sampling,
    group,
    off_policy,
    outcome,
    outliers,
    placement,
    process,
    quantile,
    running,
    temporal,
)

__all__ = [
    "distribution",
    "dynamic_sampling",
    "group",
    "off_policy",
    "outcome",
    "outliers",
    "placement",
    "process",
    "quantile",
    "running",
    "temporal",
]
