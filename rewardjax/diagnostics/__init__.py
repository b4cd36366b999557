"""What a policy or a reward has become: measured, never trained on."""

from rewardjax.diagnostics import (
    calibration,
    leakage,
    mass_balance,
    out_of_distribution,
    overoptimization,
    pass_at_k,
    ranking,
    sensitivity,
)

__all__ = [
    "calibration",
    "leakage",
    "mass_balance",
    "out_of_distribution",
    "overoptimization",
    "pass_at_k",
    "ranking",
    "sensitivity",
]
