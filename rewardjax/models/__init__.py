"""Small flax.linen networks; the only room that knows the network library."""

from rewardjax.models import (
    heads,
    incremental,
    layers,
    lora,
    pretrained,
    stacking,
    transformer,
)

__all__ = [
    "heads",
    "incremental",
    "layers",
    "lora",
    "pretrained",
    "stacking",
    "transformer",
]
