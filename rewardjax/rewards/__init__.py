"""What scores a sample: verifiers on text and on tokens."""

from rewardjax.rewards import verifiers

__all__ = ["verifiers"]
