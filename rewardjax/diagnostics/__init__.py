"""What a policy or a reward has become: measured, never trained on."""

from rewardjax.diagnostics import (
    leakage,
    mass_balance,
    overoptimization,
    pass_at_k,
    ranking,
    sensitivity,
)

__all__ = [
    "leakage",
    "mass_balance",
    "overoptimization",
    "pass_at_k",
    "ranking",
    "sensitivity",
]
