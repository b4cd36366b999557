"""What a policy or a reward has become: measured, never trained on."""

from rewardjax.diagnostics import (
    agreement,
    benchmarks,
    comparisons,
    leakage,
    mass_balance,
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
    "comparisons",
    "leakage",
    "mass_balance",
    "pass_at_k",
    "ranking",
    "scoring",
    "sections",
    "sensitivity",
    "uncertainty",
]
