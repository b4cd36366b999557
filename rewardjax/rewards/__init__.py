"""What scores a sample: verifiers on text and on tokens, and formulas."""

from rewardjax.rewards import consistency, verifiers

__all__ = ["consistency", "verifiers"]
