"""Terms added to a reward to say what the score should push."""

from rewardjax.shaping import length, ranks, turns

__all__ = ["length", "ranks", "turns"]
