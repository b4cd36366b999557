import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rewardjax.advantages import group
from rewardjax.advantages.quantile import gaussian_quantile
from tests import variants

NAN = jnp.nan


def reference(rewards):
  """Mean quantile over all orders of the ties, in float64."""
  n = len(rewards)
  quantiles = stats.norm.ppf((np.arange(n) + 0.5) / n)
  orders = [
      order
      for order in itertools.permutations(range(n))
      if all(rewards[a] <= rewards[b] for a, b in itertools.pairwise(order))
  ]
  out = np.zeros((len(orders), n))
  for row, order in zip(out, orders):
    row[list(order)] = quantiles
  return out.mean(0)


@variants.every
def test_gaussian_quantile_by_hand(variant):
  rewards = jnp.array([[0.1, 0.9, 0.4, 0.5, NAN], [1.0, 0, 0, NAN, 0]])
  mask = jnp.array([[True] * 4 + [False], [True] * 3 + [False, True]])
  actual = variant(gaussian_quantile)(rewards, mask)
  expected = [
      [-1.150349, 1.150349, -0.318639, 0.318639, 0],
      [1.150349, -0.38345, -0.38345, 0, -0.38345],
  ]
  np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize(
    "rewards, expected",
    [
        ([1, 0, 0, 1], [0.734494, -0.734494, -0.734494, 0.734494]),
        ([1] * 3 + [0] * 5, [0.970015] * 3 + [-0.582009] * 5),
    ],
)
def test_binary_groups(rewards, expected):
  actual = gaussian_quantile(jnp.array(rewards, float))
  np.testing.assert_allclose(actual, expected, atol=1e-6)
  np.testing.assert_allclose(jnp.sum(actual), 0, atol=1e-6)


def test_an_outlier_counts_as_the_largest_of_four():
  plain, wild = jnp.array([0.1, 0.9, 0.4, 0.5]), jnp.array([0.1, 100, 0.4, 0.5])
  np.testing.assert_array_equal(
      gaussian_quantile(plain), gaussian_quantile(wild)
  )
  standardised = group.standardized(wild)
  expected = [-0.505, 1.5, -0.499, -0.497]
  np.testing.assert_allclose(standardised, expected, atol=2e-3)


@pytest.mark.parametrize(
    "n, std", [(4, 0.844), (8, 0.923), (16, 0.961), (64, 0.990)]
)
def test_spread_without_ties(n, std):
  advantages = gaussian_quantile(jnp.arange(n, dtype=jnp.float32))
  np.testing.assert_allclose(jnp.std(advantages), std, atol=5e-4)
  unit = gaussian_quantile(
      jnp.arange(n, dtype=jnp.float32), unit_variance=True
  )
  np.testing.assert_allclose(jnp.std(unit), 1, rtol=1e-5)
  # Exactly odd.
  np.testing.assert_array_equal(advantages, -advantages[::-1])


def test_every_pattern_of_ties_equals_the_mean_over_orders():
  patterns = np.array(list(itertools.product(range(3), repeat=5)), float)
  actual = gaussian_quantile(jnp.array(patterns))
  expected = np.array([reference(row) for row in patterns])
  np.testing.assert_allclose(actual, expected, atol=1e-6)
  constant = np.ptp(patterns, axis=1) == 0
  np.testing.assert_array_equal(actual[constant], 0)


def test_only_the_order_matters():
  rewards = jnp.round(3 * jax.random.normal(jax.random.key(0), (6, 9))) / 3
  before = gaussian_quantile(rewards)
  for increasing in (jnp.exp, lambda x: x**3 - 7, lambda x: 1e6 * x):
    after = gaussian_quantile(increasing(rewards))
    np.testing.assert_array_equal(after, before)


def test_masked_samples_are_as_if_absent():
  rewards = jnp.array([3.0, NAN, 1.0, -jnp.inf, 2.0, jnp.inf])
  mask = jnp.array([True, False, True, True, True, True])
  actual = gaussian_quantile(rewards, mask)
  alone = gaussian_quantile(jnp.array([3.0, 1.0, -jnp.inf, 2.0, jnp.inf]))
  np.testing.assert_array_equal(actual[mask], alone)
  assert actual[1] == 0


def test_edges_and_gradient():
  for unit_variance in (False, True):
    call = lambda *x, u=unit_variance: gaussian_quantile(*x, unit_variance=u)
    rewards = jnp.array([2.0, NAN])
    np.testing.assert_array_equal(call(rewards, jnp.zeros(2, bool)), 0)
    np.testing.assert_array_equal(call(rewards, jnp.array([True, False])), 0)
    np.testing.assert_array_equal(call(jnp.full(7, 0.1)), 0)
    slope = jax.grad(lambda x, f=call: jnp.sum(x * f(x)))(jnp.arange(3.0))
    np.testing.assert_array_equal(slope, call(jnp.arange(3.0)))
  assert gaussian_quantile(jnp.ones(2, jnp.bfloat16)).dtype == jnp.float32


def test_names_mismatched_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'rewards': \(4,\), 'mask': \(3,\)"):
    gaussian_quantile(jnp.ones(4), jnp.ones(3, bool))
