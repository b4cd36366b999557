"""What scores a sample: verifiers on text and on tokens, and controls."""

from rewardjax.rewards import flow, variants, verifiers

__all__ = ["flow", "variants", "verifiers"]
