"""What the score got wrong: channels simulate it, corrections undo it."""

from rewardjax.noise import (
    appeals,
    audits,
    channels,
    classes,
    corrections,
    filters,
    flip_rates,
    homogeneity,
    neighbors,
    precision,
    preferences,
    privacy,
    rates,
    selection,
    steps,
)

__all__ = [
    "appeals",
    "audits",
    "channels",
    "classes",
    "corrections",
    "filters",
    "flip_rates",
    "homogeneity",
    "neighbors",
    "precision",
    "preferences",
    "privacy",
    "rates",
    "selection",
    "steps",
]
