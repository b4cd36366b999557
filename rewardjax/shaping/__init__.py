"""Terms added to a reward to say what the score should push."""

from rewardjax.shaping import length

__all__ = ["length"]
