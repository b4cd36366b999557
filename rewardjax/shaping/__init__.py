"""Terms added to a reward to say what the score should push."""

from rewardjax.shaping import (
    aggregation,
    length,
    ranks,
    renorm,
    transforms,
    turns,
)

__all__ = ["aggregation", "length", "ranks", "renorm", "transforms", "turns"]
