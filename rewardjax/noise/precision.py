"""How precisely an audit knows a rate, and how many samples would do.

On the host, in float64: people read these numbers, no program compiles them.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from rewardjax.core import checks
from rewardjax.noise import rates
from rewardjax.noise.rates import RateEstimate


class EffectiveCounts(NamedTuple):
  """Errors and trials of as many independent samples as the real ones equal."""

  errors: float
  total: float

  @property
  def rate(self) -> float:
    """errors / total, and NaN where nothing was tried."""
    return self.errors / self.total if self.total else math.nan


def effective_counts(
    errors: Bool[np.ndarray, " N"],
    clusters: Int[np.ndarray, " N"] | None = None,
    weights: Float[np.ndarray, " N"] | None = None,
) -> EffectiveCounts:
  """Counts of independent samples that know the rate as well as these do.

      r = sum w e / sum w
      V = sum_c (sum_{i in c} w_i (e_i - r))^2 / (sum w)^2
      n = min(r (1 - r) / V, N)

  Several answers to one prompt are a cluster: a verifier that misreads one of
  them often misreads all. N samples of N clusters with equal weights count as
  N. With r = 0 or 1, where V says nothing, a cluster counts as one sample:
  n = (sum w)^2 / sum_c (sum_{i in c} w_i)^2.

  Args:
    errors: whether the verifier erred, for samples of one true class.
    clusters: any integer id; None means that all samples are independent.
    weights: 1 / (chance of having been checked); positive.

  References:
    Rao and Scott, "A Simple Method for the Analysis of Clustered Binary
      Data", Biometrics, 1992.
  """
  checks.same_shape(
      "effective_counts", errors=errors, clusters=clusters, weights=weights
  )
  count = len(errors)
  if not count:
    return EffectiveCounts(0.0, 0.0)
  clusters = np.arange(count) if clusters is None else clusters
  weights = np.ones(count) if weights is None else weights
  _, places = np.unique(clusters, return_inverse=True)
  of_cluster = lambda x: np.bincount(places, x)
  total = weights.sum()
  rate = float(np.sum(weights * errors) / total)
  if 0 < rate < 1:
    spread = np.square(of_cluster(weights * (errors - rate))).sum()
    trials = rate * (1 - rate) * total**2 / spread if spread else count
  else:
    trials = total**2 / np.square(of_cluster(weights)).sum()
  trials = _snap(min(float(trials), float(count)))
  return EffectiveCounts(_snap(rate * trials), trials)


def _snap(x: float) -> float:
  """A whole number where only rounding keeps it from being one."""
  return float(round(x)) if abs(x - round(x)) < 1e-9 * max(x, 1) else x


def youden_interval(
    false_positive: RateEstimate, false_negative: RateEstimate
) -> RateEstimate:
  """J = 1 - rho0 - rho1 with an interval from those of the two rates.

      low = J - sqrt((high0 - rho0)^2 + (high1 - rho1)^2)
      high = J + sqrt((rho0 - low0)^2 + (rho1 - low1)^2)

  NaN in [-1, 1] where a rate is NaN; `count` is the smaller of the two.

  References:
    Newcombe, "Interval Estimation for the Difference Between Independent
      Proportions", Statistics in Medicine, 1998, method 10.
  """
  pair = false_positive, false_negative
  index = 1 - false_positive.rate - false_negative.rate
  below = np.hypot(*(x.high - x.rate for x in pair))
  above = np.hypot(*(x.rate - x.low for x in pair))
  count = np.minimum(false_positive.count, false_negative.count)
  if math.isnan(index):
    return RateEstimate(math.nan, -1.0, 1.0, float(count))
  low, high = max(index - below, -1.0), min(index + above, 1.0)
  return RateEstimate(index, float(low), float(high), float(count))


def width_at(
    rate: float, trials: float | int, *, level: float = 0.95
) -> float:
  """Half the width of the Wilson interval of a rate seen in `trials`."""
  found = rates.wilson(float(rate * trials), float(trials), level=level)
  return float(found.high - found.low) / 2


def samples_needed(
    rate: float,
    *,
    half_width: float,
    level: float = 0.95,
    largest: int = 10**8,
) -> int:
  """The least number of samples whose Wilson interval is narrow enough.

  Args:
    rate: that the samples are expected to show; 0.5 is the worst case.
    half_width: that the interval may have at most.
    level: of the interval.
    largest: never returns more.

  Raises:
    ValueError: if `rate` is no probability, or another argument not in (0, 1).
  """
  checks.probability("samples_needed", rate=rate)
  checks.within(
      "samples_needed",
      0.0,
      1.0,
      low_open=True,
      high_open=True,
      half_width=half_width,
      level=level,
  )
  low, high = 0, largest  # low is too few
  while high - low > 1:
    middle = (low + high) // 2
    if width_at(rate, middle, level=level) <= half_width:
      high = middle
    else:
      low = middle
  return high


def wilson_of(
    counts: Sequence[EffectiveCounts], *, level: float = 0.95
) -> list[RateEstimate]:
  """`rates.wilson` of each, as Python numbers; [0, 1] with NaN for nothing."""
  found = []
  for errors, total in counts:
    estimate = rates.wilson(errors, total, level=level)
    rate = errors / total if total else math.nan
    low, high = float(estimate.low), float(estimate.high)
    # float32 may put an end on the wrong side of a rate of 0 or 1.
    low, high = (min(low, rate), max(high, rate)) if total else (0.0, 1.0)
    found.append(RateEstimate(rate, low, high, total))
  return found
