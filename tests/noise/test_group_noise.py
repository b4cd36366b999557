"""Verdicts flipped for whole groups at once, or sample by sample."""

import itertools

import jax
import numpy as np
import pytest

from rewardjax.advantages import group
from rewardjax.noise import channels
from rewardjax.types import NoiseRates
from tests import variants

group = variants.programs(group)
channels = variants.programs(channels)

ESTIMATORS = (group.leave_one_out, group.centered, group.standardized)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_a_flipped_group_has_the_opposite_advantages(estimator, n):
  clean = np.array(list(itertools.product([0.0, 1.0], repeat=n)))
  flipped = channels.apply_flips(
      np.zeros((clean.shape[0], 1)), clean, NoiseRates(1.0, 1.0)
  )
  np.testing.assert_array_equal(flipped, 1 - clean)
  actual = estimator(flipped)
  np.testing.assert_allclose(actual, -estimator(clean), atol=2e-6)
  if estimator is group.leave_one_out and n != 8:
    # Where n - 1 is a power of two there is nothing to round.
    np.testing.assert_array_equal(actual, -estimator(clean))


def test_rates_of_groups_are_those_of_samples():
  labels = np.tile([[1.0, 0.0]], (20000, 2))
  rates = NoiseRates(0.3, 0.3)
  for per_group in (False, True):
    observed = channels.flip_binary(
        jax.random.key(3), labels, rates, per_group=per_group
    )
    flips = observed != labels
    # Groups are the independent draws: 20000 of them.
    bound = 5 * np.sqrt(0.3 * 0.7 / 20000)
    assert abs(np.mean(flips) - 0.3) < bound
    whole = np.all(flips == flips[:, :1], axis=1)
    assert np.all(whole) == per_group


def _variance(per_group, num_groups, n, f=0.4):
  """Exact variance of the batch mean of A * [right] over flips."""
  clean = np.array([1.0] + [0.0] * (n - 1))
  shared = lambda u: np.full(n, u)
  draws = (
      [shared(u) for u in (0, 1)]
      if per_group
      else [np.array(u) for u in itertools.product((0, 1), repeat=n)]
  )
  weights = []
  for flip in draws:
    independent = flip[:1] if per_group else flip
    weights.append(np.prod(np.where(independent, f, 1 - f)))
  values = group.leave_one_out(np.abs(clean - np.array(draws))) @ clean / n
  mean = np.dot(weights, values)
  return np.dot(weights, (values - mean) ** 2) / num_groups, mean


def test_only_noise_of_samples_averages_inside_a_group():
  """Both have the clean mean times 1 - 2 f; variances fall apart with N."""
  ratios = []
  for n in (2, 4, 8):
    (grouped, a), (single, b) = (_variance(x, 1, n) for x in (True, False))
    clean = 1.0 / n  # A of the only right one is 1
    np.testing.assert_allclose([a, b], 0.2 * clean, rtol=1e-5)
    # One sign for the whole group: 1 - (1 - 2 f)^2 times clean^2.
    np.testing.assert_allclose(grouped, 0.96 * clean**2, rtol=1e-5)
    ratios.append(grouped / single)
  assert ratios[0] < ratios[1] < ratios[2]
