"""Small flax.linen networks; the only room that knows the network library."""

from rewardjax.models import (
    flow,
    heads,
    layers,
    lora,
    pretrained,
    transformer,
)

__all__ = ["flow", "heads", "layers", "lora", "pretrained", "transformer"]
