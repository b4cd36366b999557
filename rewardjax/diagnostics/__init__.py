"""What a reward or a data set hides: leaks, deafness to what is asked."""

from rewardjax.diagnostics import leakage, sensitivity

__all__ = ["leakage", "sensitivity"]
