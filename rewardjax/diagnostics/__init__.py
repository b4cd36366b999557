"""What a reward or a data set hides: leaks, insensitivity, wrong labels."""

from rewardjax.diagnostics import leakage

__all__ = ["leakage"]
