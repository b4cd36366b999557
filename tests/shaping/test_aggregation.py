import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import group
from rewardjax.shaping import aggregation
from tests import variants

group = variants.programs(group)
aggregation = variants.programs(aggregation)

NAN = jnp.nan
# Two groups of three samples with two components.
REWARDS = jnp.array(
    [
        [[1.0, 10.0], [0.0, NAN], [0.0, 30.0]],
        [[NAN, NAN], [2.0, NAN], [4.0, NAN]],
    ]
)
MASK = jnp.array(
    [
        [[True, True], [True, False], [True, True]],
        [[False, False], [True, False], [True, False]],
    ]
)
WEIGHTS = jnp.array([2.0, 0.1])
sum_first = functools.partial(
    aggregation.sum_then_normalize, estimator=group.standardized
)
normalize_first = functools.partial(
    aggregation.normalize_then_sum, estimator=group.standardized
)


@variants.every
def test_weighted_sum_by_hand(variant):
  value, valid = variant(aggregation.weighted_sum)(
      REWARDS, MASK, weights=WEIGHTS
  )
  # The missing second component of sample 1 is the mean of 10 and 30; one
  # that a whole group lacks is 0.
  np.testing.assert_allclose(value[0], [3, 2, 3], rtol=1e-6)
  np.testing.assert_allclose(value[1, 1:], [4, 8], rtol=1e-6)
  np.testing.assert_array_equal(valid, [[1, 1, 1], [0, 1, 1]])


@variants.every
def test_normalized_first_by_hand(variant):
  actual = variant(normalize_first)(REWARDS, MASK, weights=WEIGHTS)
  # Column 0: 2 / 3, -1 / 3, -1 / 3 over the std 1 / sqrt(3); column 1 of two
  # samples: -+ 1 / sqrt(2).
  first = 2 * np.array([2, -1, -1]) / np.sqrt(3)
  second = 0.1 * np.array([-1, 0, 1]) / np.sqrt(2)
  np.testing.assert_allclose(actual[0], first + second, rtol=1e-5)
  half = 2 / np.sqrt(2)
  np.testing.assert_allclose(actual[1], [0, -half, half], rtol=1e-5)


def test_a_missing_component_never_moves_a_centred_advantage():
  """In both orders it adds what the group mean adds: nothing."""
  rewards = jnp.array([[[1.0, NAN], [0.0, 7.0], [0.0, 9.0]]])
  mask = jnp.array([[[True, False], [True, True], [True, True]]])
  for function in (
      aggregation.sum_then_normalize, aggregation.normalize_then_sum
  ):
    actual = function(
        rewards, mask, weights=jnp.ones(2), estimator=group.centered
    )
    np.testing.assert_allclose(actual, [[2 / 3, -4 / 3, 2 / 3]], rtol=1e-6)


def test_decoupling_tells_apart_what_the_sum_does_not():
  """Two samples, two rewards: 0 and 1 right against 0 and 2 right."""
  one = jnp.array([[[0.0, 0.0], [1.0, 0.0]]])
  two = jnp.array([[[0.0, 0.0], [1.0, 1.0]]])
  weights, half = jnp.ones(2), np.sqrt(0.5)
  for rewards in (one, two):
    np.testing.assert_allclose(
        sum_first(rewards, weights=weights), [[-half, half]], rtol=1e-5
    )
  for rewards, n in ((one, 1), (two, 2)):
    np.testing.assert_allclose(
        normalize_first(rewards, weights=weights),
        [[-n * half, n * half]],
        rtol=1e-5,
    )


def test_unequal_scales_matter_only_when_summed_first():
  random = np.random.default_rng(0)
  rewards = jnp.array(random.normal(size=(3, 8, 2)))
  scaled = jnp.stack([rewards[..., 0], 1000 * rewards[..., 1] - 5], -1)
  weights = jnp.ones(2)
  with jax.enable_x64(True):
    a, b = (normalize_first(x, weights=weights) for x in (rewards, scaled))
  np.testing.assert_allclose(a, b, atol=1e-4)
  drowned = sum_first(scaled, weights=weights)
  alone = group.standardized(scaled[..., 1])
  np.testing.assert_allclose(drowned, alone, atol=0.01)
  assert np.max(np.abs(sum_first(rewards, weights=weights) - alone)) > 0.3


@pytest.mark.parametrize("function", [sum_first, normalize_first])
def test_one_component_is_the_estimator_alone(function):
  rewards = jnp.array([[1.0, 0.0, 0.0, 3.0]])
  actual = function(rewards[..., None], weights=jnp.ones(1))
  np.testing.assert_allclose(actual, group.standardized(rewards), rtol=1e-6)


@pytest.mark.parametrize("function", [sum_first, normalize_first])
def test_masked_entries_carry_nothing(function):
  slope = variants.grad(
      lambda r: jnp.sum(function(r, MASK, weights=WEIGHTS)[:, 0])
  )(REWARDS)
  assert np.all(np.isfinite(slope))
  np.testing.assert_array_equal(slope[~MASK], 0.0)
  none = jnp.zeros_like(MASK)
  actual = function(REWARDS, none, weights=WEIGHTS)
  np.testing.assert_array_equal(actual, 0.0)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="weights must be \\[M\\]"):
    aggregation.weighted_sum(REWARDS, weights=jnp.ones(3))
  with pytest.raises(ValueError, match="normalize_then_sum: expected one"):
    normalize_first(REWARDS, MASK[0], weights=WEIGHTS)


@variants.every
def test_zscore_sum_is_the_standardised_sum(variant):
  actual = variant(aggregation.zscore_sum)(REWARDS, MASK, weights=WEIGHTS)
  first = 2 * np.array([2, -1, -1]) / np.sqrt(3)
  second = 0.1 * np.array([-1, 0, 1]) / np.sqrt(2)
  np.testing.assert_allclose(actual[0], first + second, rtol=1e-5)
  scaled = aggregation.zscore_sum(
      REWARDS * jnp.array([[[3.0, 50.0]]]) - 7, MASK, weights=WEIGHTS
  )
  np.testing.assert_allclose(scaled, actual, rtol=1e-4)


def test_zscores_of_equal_rewards_are_zero_and_ddof_counts():
  equal = jnp.full((2, 3, 1), 4.0)
  zero = aggregation.zscore_sum(equal, weights=jnp.ones(1))
  np.testing.assert_array_equal(zero, 0)
  two = jnp.array([[[0.0], [2.0]]])
  whole = aggregation.zscore_sum(two, weights=jnp.ones(1), ddof=0)
  np.testing.assert_allclose(whole, [[-1, 1]], rtol=1e-6)
