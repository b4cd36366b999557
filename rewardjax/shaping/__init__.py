"""Terms added to a reward to say what the score should push."""

from rewardjax.shaping import aggregation, length, renorm, transforms

__all__ = ["aggregation", "length", "renorm", "transforms"]
