"""What a policy or a reward has become: measured, never trained on."""

from rewardjax.diagnostics import (
    agreement,
    benchmarks,
    calibration,
    comparisons,
    cross_rewards,
    leakage,
    mass_balance,
    out_of_distribution,
    overoptimization,
    pass_at_k,
    probing,
    ranking,
    scoring,
    sections,
    sensitivity,
    uncertainty,
)

__all__ = [
    "agreement",
    "benchmarks",
    "calibration",
    "comparisons",
    "cross_rewards",
    "leakage",
    "mass_balance",
    "out_of_distribution",
    "overoptimization",
    "pass_at_k",
    "probing",
    "ranking",
    "scoring",
    "sections",
    "sensitivity",
    "uncertainty",
]
