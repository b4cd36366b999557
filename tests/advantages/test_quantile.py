import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rewardjax.advantages import group
from rewardjax.advantages.quantile import gaussian_quantile
from tests import variants

group = variants.programs(group)

NAN = np.nan
quantile = jax.jit(gaussian_quantile, static_argnames="unit_variance")


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
  actual = quantile(np.array(rewards, np.float32))
  np.testing.assert_allclose(actual, expected, atol=1e-6)
  np.testing.assert_allclose(np.sum(actual), 0, atol=1e-6)


def test_an_outlier_counts_as_the_largest_of_four():
  plain, wild = np.array([[0.1, 0.9, 0.4, 0.5], [0.1, 100, 0.4, 0.5]])
  np.testing.assert_array_equal(quantile(plain), quantile(wild))
  standardised = jax.jit(group.standardized)(wild)
  expected = [-0.505, 1.5, -0.499, -0.497]
  np.testing.assert_allclose(standardised, expected, atol=2e-3)


@pytest.mark.parametrize(
    "n, std", [(4, 0.844), (8, 0.923), (16, 0.961), (64, 0.990)]
)
def test_spread_without_ties(n, std):
  rewards = np.arange(n, dtype=np.float32)
  both = jax.jit(
      lambda x: (
          gaussian_quantile(x), gaussian_quantile(x, unit_variance=True)
      )
  )
  advantages, unit = map(np.asarray, both(rewards))
  np.testing.assert_allclose(np.std(advantages), std, atol=5e-4)
  np.testing.assert_allclose(np.std(unit), 1, rtol=1e-5)
  # Exactly odd.
  np.testing.assert_array_equal(advantages, -advantages[::-1])


def test_every_pattern_of_ties_equals_the_mean_over_orders():
  patterns = np.array(list(itertools.product(range(3), repeat=5)), float)
  actual = np.asarray(quantile(patterns))
  expected = np.array([reference(row) for row in patterns])
  np.testing.assert_allclose(actual, expected, atol=1e-6)
  constant = np.ptp(patterns, axis=1) == 0
  np.testing.assert_array_equal(actual[constant], 0)


def test_only_the_order_matters():
  draws = np.random.default_rng(0).normal(size=(6, 9))
  rewards = (np.round(3 * draws) / 3).astype(np.float32)
  before = quantile(rewards)
  for increasing in (np.exp, lambda x: x**3 - 7, lambda x: 1e6 * x):
    after = quantile(increasing(rewards).astype(np.float32))
    np.testing.assert_array_equal(after, before)


def test_masked_samples_are_as_if_absent():
  rewards = np.array([3.0, NAN, 1.0, -np.inf, 2.0, np.inf])
  mask = np.array([True, False, True, True, True, True])
  actual = np.asarray(quantile(rewards, mask))
  alone = quantile(rewards[mask])
  np.testing.assert_array_equal(actual[mask], alone)
  assert actual[1] == 0


def test_edges_and_gradient():
  for unit_variance in (False, True):
    call = lambda *x, u=unit_variance: quantile(*x, unit_variance=u)
    rewards = np.array([2.0, NAN])
    np.testing.assert_array_equal(call(rewards, np.zeros(2, bool)), 0)
    np.testing.assert_array_equal(call(rewards, np.array([True, False])), 0)
    np.testing.assert_array_equal(call(np.full(7, 0.1)), 0)
    three = np.arange(3, dtype=np.float32)
    slope = jax.jit(jax.grad(lambda x, f=call: jnp.sum(x * f(x))))(three)
    np.testing.assert_array_equal(slope, call(three))
  assert quantile(np.ones(2, jnp.bfloat16)).dtype == np.float32


def test_names_mismatched_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'rewards': \(4,\), 'mask': \(3,\)"):
    gaussian_quantile(jnp.ones(4), jnp.ones(3, bool))
