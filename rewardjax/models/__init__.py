"""Small flax.linen networks; the only room that knows the network library."""

from rewardjax.models import (
    denoisers,
    experts,
    flow,
    heads,
    incremental,
    interpolation,
    layers,
    lora,
    pooling,
    pretrained,
    scenes,
    set_encoder,
    stacking,
    transformer,
)

__all__ = [
    "denoisers",
    "experts",
    "flow",
    "heads",
    "incremental",
    "interpolation",
    "layers",
    "lora",
    "pooling",
    "pretrained",
    "scenes",
    "set_encoder",
    "stacking",
    "transformer",
]
