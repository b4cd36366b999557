"""Terms added to a reward to say what the score should push."""

from rewardjax.shaping import (
    aggregation,
    combination,
    length,
    ranks,
    renorm,
    transforms,
    turns,
)

__all__ = [
    "aggregation",
    "combination",
    "length",
    "ranks",
    "renorm",
    "transforms",
    "turns",
]
