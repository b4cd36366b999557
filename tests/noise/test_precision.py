import math

import numpy as np
import pytest
from scipy import stats

from rewardjax.noise import precision, rates
from rewardjax.noise.rates import RateEstimate


def flags(*numbers):
  return np.asarray(numbers, bool)


def test_independent_samples_count_as_they_are():
  errors = flags(1, 0, 0, 1, 0)
  assert precision.effective_counts(errors) == (2.0, 5.0)
  clusters, weights = np.array([4, 9, 1, 0, 7]), np.full(5, 3.0)
  found = precision.effective_counts(errors, clusters, weights)
  assert found == (2.0, 5.0) and found.rate == 0.4


def test_clusters_by_hand():
  # Both samples of each of 4 prompts agree: 4 independent samples.
  errors = flags(1, 1, 0, 0, 0, 0, 0, 0)
  clusters = np.repeat(np.arange(4), 2)
  assert precision.effective_counts(errors, clusters) == (1.0, 4.0)
  errors = flags(1, 1, 1, 0, 0, 0)
  clusters = np.array([0, 0, 1, 1, 2, 2])
  # r = 1/2, sums of gaps 1, 0, -1: V = 2/36, n = .25 / V = 4.5.
  assert precision.effective_counts(errors, clusters) == (2.25, 4.5)


def test_unanimous_samples_count_as_their_clusters():
  clusters = np.array([0, 0, 0, 1])
  for rate, errors in ((0, flags(0, 0, 0, 0)), (1, flags(1, 1, 1, 1))):
    found = precision.effective_counts(errors, clusters)
    assert found == (rate * 16 / 10, 16 / 10)


def test_weights_move_the_rate_and_cost_samples():
  errors, weights = flags(1, 0, 0), np.array([2.0, 1.0, 1.0])
  found = precision.effective_counts(errors, None, weights)
  # r = 1/2; V = (1 + 1/4 + 1/4) / 16; n = .25 / V.
  assert found.rate == pytest.approx(0.5)
  assert found.total == pytest.approx(0.25 * 16 / 1.5)


def test_nothing_counts_as_nothing():
  found = precision.effective_counts(flags())
  assert found == (0.0, 0.0) and math.isnan(found.rate)
  (estimate,) = precision.wilson_of([found])
  assert math.isnan(estimate.rate)
  assert (estimate.low, estimate.high, estimate.count) == (0.0, 1.0, 0.0)


def test_effective_counts_never_exceed_the_samples():
  # Opposite errors within every prompt: less spread than independence.
  errors, clusters = flags(1, 0, 1, 0), np.array([0, 0, 1, 1])
  assert precision.effective_counts(errors, clusters) == (2.0, 4.0)


def estimate(errors, trials):
  return precision.wilson_of([precision.EffectiveCounts(errors, trials)])[0]


def test_youden_interval_by_hand():
  first = RateEstimate(0.1, 0.06, 0.13, 50.0)
  second = RateEstimate(0.3, 0.27, 0.34, 40.0)
  found = precision.youden_interval(first, second)
  expected = (0.6, 0.6 - 0.05, 0.6 + 0.05, 40.0)
  np.testing.assert_allclose(found, expected)


def test_youden_interval_stays_in_range_and_is_wide_where_nothing_is_known():
  found = precision.youden_interval(estimate(0, 0), estimate(1, 9))
  assert math.isnan(found.rate)
  found = precision.youden_interval(
      RateEstimate(0.9, 0.1, 1.0, 3.0), RateEstimate(0.9, 0.1, 1.0, 3.0)
  )
  assert found.low >= -1 and found.high <= 1


@pytest.mark.parametrize(
    "p0, p1, n0, n1", [(0.1, 0.3, 30, 20), (0.02, 0.6, 40, 15)]
)
def test_youden_interval_covers(p0, p1, n0, n1):
  """The exact chance of holding J, over all pairs of counts."""
  first = [estimate(float(e), float(n0)) for e in range(n0 + 1)]
  second = [estimate(float(e), float(n1)) for e in range(n1 + 1)]
  covered = 0.0
  for i, x in enumerate(first):
    for k, y in enumerate(second):
      found = precision.youden_interval(x, y)
      mass = stats.binom.pmf(i, n0, p0) * stats.binom.pmf(k, n1, p1)
      covered += mass * (found.low <= 1 - p0 - p1 <= found.high)
  assert 0.93 < covered < 0.99


@pytest.mark.parametrize("rate, width", [(0.5, 0.1), (0.05, 0.08), (0.0, 0.1)])
def test_samples_needed_is_the_least_number(rate, width):
  needed = precision.samples_needed(rate, half_width=width)
  assert precision.width_at(rate, needed) <= width
  assert precision.width_at(rate, needed - 1) > width


def test_samples_needed_at_one_half():
  # Wilson at r = 1/2: half width z / (2 sqrt(n + z^2)).
  z = stats.norm.ppf(0.975)
  expected = math.ceil((z / 0.1) ** 2 / 4 - z**2)
  assert precision.samples_needed(0.5, half_width=0.1) == expected == 93


def test_wilson_of_holds_its_rate():
  for errors in (0.0, 3.0, 7.0):
    found = estimate(errors, 7.0)
    reference = rates.wilson(errors, 7.0)
    np.testing.assert_allclose(found, reference, atol=1e-6)
    assert found.low <= found.rate <= found.high


def test_errors_name_what_does_not_fit(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'clusters': \(1,\)"):
    precision.effective_counts(flags(1, 0), np.array([1]))
  with pytest.raises(ValueError, match="half_width must be in .0, 1., got 0"):
    precision.samples_needed(0.5, half_width=0.0)
  with pytest.raises(ValueError, match="rate must be in .0, 1., got 2"):
    precision.samples_needed(2.0, half_width=0.1)
