"""Small flax.linen networks; the only room that knows the network library."""

from rewardjax.models import (
    flow,
    heads,
    incremental,
    layers,
    lora,
    pretrained,
    stacking,
    transformer,
)

__all__ = [
    "flow",
    "heads",
    "incremental",
    "layers",
    "lora",
    "pretrained",
    "stacking",
    "transformer",
]
