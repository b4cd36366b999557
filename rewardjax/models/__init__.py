"""Small flax.linen networks; the only room that knows the network library."""

from rewardjax.models import heads, layers, lora, pretrained, transformer

__all__ = ["heads", "layers", "lora", "pretrained", "transformer"]
