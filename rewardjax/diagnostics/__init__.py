"""What a policy or a reward has become: measured, never trained on."""

from rewardjax.diagnostics import (
    agreement,
    benchmarks,
    calibration,
    comparisons,
    instructions,
    leakage,
    mass_balance,
    out_of_distribution,
    overoptimization,
    pass_at_k,
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
    "instructions",
    "leakage",
    "mass_balance",
    "out_of_distribution",
    "overoptimization",
    "pass_at_k",
    "ranking",
    "scoring",
    "sections",
    "sensitivity",
    "uncertainty",
]
