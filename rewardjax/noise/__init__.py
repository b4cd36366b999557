"""What the score got wrong: channels simulate it, corrections undo it."""

from rewardjax.noise import (
    appeals,
    audits,
    channels,
    classes,
    corrections,
    homogeneity,
    neighbors,
    precision,
    privacy,
    rates,
    steps,
)

__all__ = [
    "appeals",
    "audits",
    "channels",
    "classes",
    "corrections",
    "homogeneity",
    "neighbors",
    "precision",
    "privacy",
    "rates",
    "steps",
]
