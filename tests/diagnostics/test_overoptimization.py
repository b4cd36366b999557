import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import overoptimization
from tests import variants

overoptimization = variants.programs(overoptimization)

NAN = jnp.nan
SIZES = jnp.arange(1, 5)
best_of_n_curve = jax.jit(overoptimization.best_of_n_curve)


def enumerated(proxy, gold, n):
  """Mean over all subsets; a tie counts the mean of those that are tied."""
  found = []
  for subset in itertools.combinations(range(len(proxy)), n):
    p, g = proxy[list(subset)], gold[list(subset)]
    found.append(g[p == p.max()].mean())
  return np.mean(found)


@variants.every
def test_curve_by_hand(variant):
  # Sorted by the proxy the gold is 1, 2, 3, 0; the second row has three.
  proxy = jnp.array([[0.4, 0.1, 0.2, 0.3, NAN], [5.0, NAN, 7.0, 6.0, NAN]])
  gold = jnp.array([[0.0, 1.0, 2.0, 3.0, 9.0], [1.0, 4.0, 3.0, 2.0, NAN]])
  mask = jnp.array([[True] * 4 + [False], [True, False, True, True, False]])
  curve = lambda *a: overoptimization.best_of_n_curve(
      a[0], a[1], SIZES, a[2]
  )
  actual = variant(curve)(proxy, gold, mask)
  expected = [[1.5, 4 / 3, 0.75, 0.0], [2.0, 8 / 3, 3.0, np.nan]]
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [1, 3, 6, 8])
def test_curve_counts_all_subsets(count):
  random = np.random.default_rng(count)
  proxy = random.normal(size=count)
  gold = random.normal(size=count)
  sizes = np.arange(1, count + 1)
  actual = np.asarray(best_of_n_curve(proxy, gold, sizes))
  expected = [enumerated(proxy, gold, n) for n in sizes]
  np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-6)
  np.testing.assert_allclose(
      actual[-1], gold[np.argmax(proxy)], rtol=1e-5
  )


def test_ties_are_broken_at_random():
  proxy = np.array([1.0, 0.0, 1.0, 1.0, 0.0, -np.inf])
  gold = np.array([3.0, 1.0, 5.0, -2.0, 4.0, 7.0])
  sizes = np.arange(1, 7)
  actual = np.asarray(best_of_n_curve(proxy, gold, sizes))
  # Over all orders of the samples a stable choice is a random one.
  expected = [enumerated(proxy, gold, n) for n in sizes]
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_many_samples_keep_their_digits():
  """Against the continuum: the n-th largest of N uniform draws."""
  size = 12_600
  x = (np.arange(1, size + 1) / size).astype(np.float32)
  sizes = np.array([1, 10, 1000, 12_500])
  actual = best_of_n_curve(x, x, sizes)
  # E of the largest rank of a subset is n (N + 1) / (n + 1).
  n = np.asarray(sizes, np.float64)
  expected = n * (size + 1) / (n + 1) / size
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_gradient_is_the_chance_of_being_chosen():
  proxy = jnp.array([0.4, NAN, 0.2, 0.3])
  mask = jnp.array([True, False, True, True])
  curve = lambda p, g: overoptimization.best_of_n_curve(
      p, g, jnp.array([2]), mask
  )[0]
  of_proxy, of_gold = variants.grad(curve, argnums=(0, 1))(proxy, jnp.ones(4))
  np.testing.assert_array_equal(of_proxy, 0.0)
  np.testing.assert_allclose(of_gold, [2 / 3, 0, 0, 1 / 3], rtol=1e-5)


def test_kl_of_best_of_n():
  actual = overoptimization.best_of_n_kl(jnp.array([1, 2, 16]))
  expected = [0, np.log(2) - 0.5, np.log(16) - 15 / 16]
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_kl_of_best_of_n_is_that_of_the_order_statistic():
  """KL of the density n x^(n - 1) from the uniform one, by quadrature."""
  x = (np.arange(200_000) + 0.5) / 200_000
  density = 8 * x**7
  expected = np.mean(density * np.log(density))
  actual = overoptimization.best_of_n_kl(jnp.array(8))
  np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="best_of_n_curve: .*'gold': \\(3,\\)"):
    overoptimization.best_of_n_curve(jnp.ones(4), jnp.ones(3), SIZES)


def test_transferred_gains_by_enumeration():
  scores = np.array([[0.0, 3.0], [1.0, 0.0], [2.0, 1.0], [5.0, 2.0]])
  padded = jnp.concatenate([jnp.asarray(scores), jnp.full((1, 2), jnp.nan)])
  actual = overoptimization.transferred_gains(
      padded, jnp.asarray(2), jnp.arange(5) < 4
  )
  subsets = list(itertools.combinations(range(4), 2))
  for i, j in itertools.product(range(2), range(2)):
    best = [max(s, key=lambda k: scores[k, i]) for s in subsets]
    expected = np.mean([scores[k, j] for k in best]) - scores[:, j].mean()
    np.testing.assert_allclose(actual[i, j], expected, rtol=1e-5)
