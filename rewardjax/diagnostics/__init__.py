"""What a reward or a data set hides, and how good a list is."""

from rewardjax.diagnostics import leakage, ranking, sensitivity

__all__ = ["leakage", "ranking", "sensitivity"]
