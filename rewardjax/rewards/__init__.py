"""What scores a sample: verifiers on text and on tokens, and controls."""

from rewardjax.rewards import variants, verifiers

__all__ = ["variants", "verifiers"]
