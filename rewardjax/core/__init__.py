"""Masked sums, reducers, probabilities, checks, keys: no method lives here."""

from rewardjax.core import (
    checks,
    collectives,
    divergences,
    exact_json,
    gguf_file,
    links,
    mapping,
    masking,
    numerics,
    packing,
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
    "exact_json",
    "gguf_file",
    "links",
    "mapping",
    "masking",
    "numerics",
    "packing",
    "probability",
    "random",
    "reduction",
    "statistics",
    "tilting",
]
