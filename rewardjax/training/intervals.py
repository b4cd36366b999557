"""Means over seeds with confidence intervals, on the host.

For few runs of several tasks: interquartile means and probabilities of
improvement with stratified bootstrap intervals, as in

  Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
    Precipice", 2021, arXiv:2108.13264.
"""

from collections.abc import Callable
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
  # Not scipy.stats, which takes seconds to import.
  from scipy import special

  values = np.asarray(values, np.float64)
  real = np.isfinite(values)
  n = real.sum(0)
  mean = np.where(real, values, 0).sum(0) / np.where(n > 0, n, np.nan)
  squares = np.square(np.where(real, values - mean, 0)).sum(0)
  freedom = np.where(n > 1, n - 1, np.nan)
  quantile = special.stdtrit(freedom, (1 + level) / 2)  # of Student's t
  half = quantile * np.sqrt(squares / freedom / n)
  return np.stack([mean, mean - half, mean + half])


def mean_interval(values: Any, level: float = 0.95) -> Interval:
  """Mean and Student's t interval of one number per seed, NaN left out."""
  values = np.asarray(values, np.float64).ravel()
  numbers = mean_intervals(values, level)
  return Interval(*map(float, numbers), int(np.isfinite(values).sum()))


def interquartile_mean(scores: Any) -> float:
  """Mean of the middle half of all scores, whatever their shape.

  floor(n / 4) scores are left out at each end.

  Raises:
    ValueError: if a score is not finite, or there is none.
  """
  scores = np.sort(np.asarray(scores, np.float64).ravel())
  if not scores.size or not np.isfinite(scores).all():
    raise ValueError("interquartile_mean: scores must be finite, and some.")
  cut = scores.size // 4
  return float(scores[cut : scores.size - cut].mean())


def probability_of_improvement(scores: Any, baseline: Any) -> float:
  """P(a run beats a run of the baseline), averaged over tasks; ties half.

  Args:
    scores: `[runs, *tasks]`.
    baseline: `[other runs, *tasks]`.

  Raises:
    ValueError: if the tasks differ.
  """
  scores, baseline = (np.asarray(x, np.float64) for x in (scores, baseline))
  if scores.shape[1:] != baseline.shape[1:]:
    raise ValueError(
        "probability_of_improvement: expected the same tasks, got shapes "
        f"{scores.shape} and {baseline.shape}."
    )
  sign = np.sign(scores[:, None] - baseline[None])
  return float(np.mean((1 + sign) / 2))


def stratified_bootstrap(
    statistic: Callable[..., float],
    *samples: Any,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
  """Percentile interval of a statistic: runs are drawn anew in every stratum.

  Args:
    statistic: of as many arrays as there are samples.
    *samples: `[runs, *strata]` each; runs are drawn with replacement along
      the first axis, independently in every entry of the others.
    level: of the interval.
    num_resamples: how often the statistic is computed.
    seed: of the draws: the same samples have the same interval.

  Returns:
    The statistic of the samples, its interval, and the number of runs of the
    first sample.

  Raises:
    ValueError: unless level is in (0, 1) and there is a resample.
  """
  where = "stratified_bootstrap"
  checks.within(where, 0, 1, low_open=True, high_open=True, level=level)
  checks.at_least(where, 1, num_resamples=num_resamples)
  samples = [np.asarray(x, np.float64) for x in samples]
  draws, generator = np.empty(num_resamples), np.random.default_rng(seed)
  for i in range(num_resamples):
    chosen = (generator.integers(len(x), size=x.shape) for x in samples)
    drawn = (np.take_along_axis(x, c, 0) for x, c in zip(samples, chosen))
    draws[i] = statistic(*drawn)
  tail = (1 - level) / 2
  low, high = np.quantile(draws, (tail, 1 - tail))
  value = statistic(*samples)
  return Interval(float(value), float(low), float(high), len(samples[0]))
