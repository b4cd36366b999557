"""Small flax.linen networks; the only room that knows the network library."""

from rewardjax.models import (
    experts,
    flow,
    heads,
    incremental,
    interpolation,
    layers,
    lora,
    pooling,
    pretrained,
    set_encoder,
    stacking,
    transformer,
)

__all__ = [
    "experts",
    "flow",
    "heads",
    "incremental",
    "interpolation",
    "layers",
    "lora",
    "pooling",
    "pretrained",
    "set_encoder",
    "stacking",
    "transformer",
]
