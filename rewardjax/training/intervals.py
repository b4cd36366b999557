"""Means over seeds with confidence intervals, on the host."""

from typing import Any, NamedTuple

import numpy as np

from rewardjax.core import checks


class Interval(NamedTuple):
  """A mean over n runs and its confidence interval; NaN ends for one run."""

  mean: float
  low: float
  high: float
  n: int

  def __str__(self) -> str:
    if not np.isfinite(self.low):
      return f"{self.mean:.3f} (n={self.n})"
    half = (self.high - self.low) / 2
    return f"{self.mean:.3f} ± {half:.3f}"


def mean_intervals(values: Any, level: float = 0.95) -> np.ndarray:
  """Student's t intervals over the first axis, NaN left out.

  Args:
    values: `[seeds, *shape]`.
    level: probability that an interval holds the true mean, for values of
      normal distribution.

  Returns:
    `[3, *shape]`: mean, low, high. The ends are NaN with fewer than two
    values, the mean too with none.
  """
  checks.within(
      "mean_intervals", 0, 1, low_open=True, high_open=True, level=level
  )
  from scipy import stats

  values = np.asarray(values, np.float64)
  real = np.isfinite(values)
  n = real.sum(0)
  mean = np.where(real, values, 0).sum(0) / np.where(n > 0, n, np.nan)
  squares = np.square(np.where(real, values - mean, 0)).sum(0)
  freedom = np.where(n > 1, n - 1, np.nan)
  half = stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(squares / freedom / n)
  return np.stack([mean, mean - half, mean + half])


def mean_interval(values: Any, level: float = 0.95) -> Interval:
  """Mean and Student's t interval of one number per seed, NaN left out."""
  values = np.asarray(values, np.float64).ravel()
  numbers = mean_intervals(values, level)
  return Interval(*map(float, numbers), int(np.isfinite(values).sum()))
