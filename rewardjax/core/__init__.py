"""Masked sums, reducers, probabilities, checks, keys: no method lives here."""

from rewardjax.core import (
    checks,
    collectives,
    divergences,
    masking,
    numerics,
    probability,
    random,
    reduction,
    statistics,
    tilting,
)

__all__ = [
    "checks",
    "collectives",
    "divergences",
    "masking",
    "numerics",
    "probability",
    "random",
    "reduction",
    "statistics",
    "tilting",
]
