import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import uncertainty
from tests import variants

uncertainty = variants.programs(uncertainty)


def eager(edges, variances, size):
  return uncertainty.inference_distance(
      jnp.array(edges), jnp.array(variances), num_nodes=size
  )


_distance = jax.jit(
    uncertainty.inference_distance, static_argnames="num_nodes"
)


def distance(edges, variances, size):
  edges, variances = np.asarray(edges), np.asarray(variances)
  return np.asarray(_distance(edges, variances, num_nodes=size))


@variants.op_by_op()
def test_in_a_row_side_by_side_and_a_triangle():
  row = distance([[0, 1], [1, 2]], [1.0, 1.0], 3)
  np.testing.assert_allclose(row, [[0, 1, 2], [1, 0, 1], [2, 1, 0]], atol=1e-6)
  twice = distance([[0, 1], [1, 0]], [1.0, 1.0], 2)
  np.testing.assert_allclose(twice[0, 1], 0.5, rtol=1e-6)
  triangle = distance([[0, 1], [1, 2], [2, 0]], [1.0] * 3, 3)
  np.testing.assert_allclose(triangle[0, 1:], 2 / 3, rtol=1e-6)


@variants.op_by_op()
def test_what_nothing_joins_is_unknown():
  found = distance([[0, 1], [2, 3], [3, 3]], [2.0, 3.0, 1.0], 5)
  assert found[0, 1] == pytest.approx(2) and found[2, 3] == pytest.approx(3)
  assert np.all(np.isinf(np.asarray(found)[[0, 1, 4], [2, 3, 0]]))
  np.testing.assert_array_equal(np.diagonal(found), 0)


def random_graph(seed, size=7, extra=5):
  random = np.random.default_rng(seed)
  tree = [[i, int(random.integers(0, i))] for i in range(1, size)]
  pairs = [sorted(random.choice(size, 2, False)) for _ in range(extra)]
  edges = np.array(tree + pairs)
  return edges, random.uniform(0.5, 4.0, len(edges))


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_posterior_variance_of_a_gaussian(seed):
  """Under a flat prior and noisy differences with these variances."""
  edges, variances = random_graph(seed)
  difference = np.eye(7)[edges[:, 0]] - np.eye(7)[edges[:, 1]]
  precision = difference.T @ (difference / variances[:, None])
  covariance = np.linalg.pinv(precision)
  own = np.diagonal(covariance)
  expected = own[:, None] + own - 2 * covariance
  with jax.enable_x64(True):
    actual = distance(edges, variances, 7)
    np.testing.assert_allclose(actual, expected, atol=1e-9)


def test_never_above_the_shortest_path():
  edges, variances = random_graph(3)
  path = np.full((7, 7), np.inf)
  np.fill_diagonal(path, 0)
  for (u, v), x in zip(edges, variances):
    path[u, v] = path[v, u] = min(path[u, v], x)
  for k in range(7):
    path = np.minimum(path, path[:, k, None] + path[None, k])
  assert np.all(np.asarray(distance(edges, variances, 7)) <= path + 1e-4)


def test_gradients_are_squared_currents():
  """In a row all of the unit current flows through each edge, else a part."""
  at = lambda x: uncertainty.inference_distance(
      jnp.array([[0, 1], [1, 2], [3, 4]]), x, num_nodes=5
  )[0, 2]
  slope = jax.jit(jax.grad(at))(np.ones(3))
  np.testing.assert_allclose(slope, [1, 1, 0], atol=1e-5)
  beside = lambda x: uncertainty.inference_distance(
      jnp.array([[0, 1], [0, 1]]), x, num_nodes=2
  )[0, 1]
  slope = jax.jit(jax.grad(beside))(np.array([1.0, 3.0]))
  np.testing.assert_allclose(slope, [9 / 16, 1 / 16], rtol=1e-5)


def test_a_long_chain_is_joined():
  edges = [[i, i + 1] for i in range(8)]
  assert distance(edges, [1.0] * 8, 9)[0, 8] == pytest.approx(8, rel=1e-5)
  assert distance(np.zeros((0, 2), int), np.zeros(0), 1).tolist() == [[0]]


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'variances': \(1,\)"):
    eager([[0, 1], [1, 2]], [1.0], 3)
  with pytest.raises(ValueError, match="num_nodes must be in"):
    eager([[0, 1]], [1.0], 0)


def test_the_gaussian_process_is_the_network_on_its_graph():
  # A tree of increments is a graph of resistances: Var[r_i - r_j] of a walk
  # of independent steps, with more comparisons in parallel.
  steps = np.array([0.5, 1.0, 2.0])
  at = np.concatenate([[0.0], np.cumsum(steps)])
  kernel = jnp.asarray(np.minimum(at[:, None], at[None]))
  pairs = jnp.array([[0, 2], [3, 1], [0, 2]])
  actual = uncertainty.difference_variance(kernel, pairs, noise=0.7)
  edges = jnp.array([[0, 1], [1, 2], [2, 3], [0, 2], [3, 1], [0, 2]])
  resistances = jnp.asarray([*steps, 0.7, 0.7, 0.7])
  expected = uncertainty.inference_distance(edges, resistances, num_nodes=4)
  np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_comparisons_never_raise_the_variance_and_noise_must_be_positive():
  x = jax.random.normal(jax.random.key(0), (6, 4))
  kernel = x @ x.T
  prior = jnp.diagonal(kernel)
  prior = prior[:, None] + prior[None, :] - 2 * kernel
  pairs = jnp.array([[0, 1], [2, 3]])
  left = uncertainty.difference_variance(kernel, pairs, noise=0.5)
  assert np.all(left <= prior + 1e-4)
  want = prior[0, 1] * 0.5 / (prior[0, 1] + 0.5)
  one = uncertainty.difference_variance(kernel, pairs[:1], noise=0.5)
  np.testing.assert_allclose(one[0, 1], want, rtol=1e-4)
  with pytest.raises(ValueError, match="noise must be"):
    uncertainty.difference_variance(kernel, pairs, noise=0.0)
