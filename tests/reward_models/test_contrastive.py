import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.reward_models import contrastive
from tests import variants

contrastive = variants.programs(contrastive)

NAN = jnp.nan
A = jnp.array([[1.0, 0.0], [1.0, 0.0], [NAN, NAN], [0.0, 0.0]])
P = jnp.array([[0.8, 0.6], [0.0, 1.0], [1.0, NAN], [1.0, 0.0]])
N = jnp.array([[0.0, 1.0], [0.8, 0.6], [NAN, 0.0], [0.0, 1.0]])
MASK = jnp.array([True, True, False, True])
# One program for all calls of one shape.
triplet = jax.jit(contrastive.triplet)
info_nce = jax.jit(contrastive.info_nce, static_argnames="temperature")
goal_contrastive = jax.jit(contrastive.goal_contrastive)


@variants.every
def test_triplet_by_hand(variant):
  # One leading axis of 2 for the variants that split it.
  fold = lambda x: x.reshape(2, 2, *x.shape[1:])
  actual = variant(contrastive.triplet)(fold(A), fold(P), fold(N), fold(MASK))
  # Distances .4 and 2, the other way round, masked, a zero vector.
  np.testing.assert_allclose(
      actual, [[0.0, 1.9], [0.0, 0.3]], rtol=1e-6, atol=1e-7
  )


def test_triplet_is_the_distance_form():
  random = np.random.default_rng(0)
  a, p, n = random.normal(size=(3, 20, 4))
  u = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
  d = lambda x, y: ((u(x) - u(y)) ** 2).sum(-1)
  expected = np.maximum(0, d(a, p) - d(a, n) + 0.3)
  assert 0 < np.mean(expected > 0) < 1
  actual = triplet(a, p, n)
  np.testing.assert_allclose(actual, expected, atol=2e-6)


def test_triplet_gradient_ends_at_the_gap():
  def total(p):
    return jnp.sum(contrastive.triplet(A, p, N, MASK))

  slope = np.asarray(jax.jit(jax.grad(total))(P))
  assert np.all(np.isfinite(slope))
  np.testing.assert_array_equal(slope[0], 0.0)  # its gap is .8 > .15
  assert np.any(slope[1] != 0)
  np.testing.assert_array_equal(slope[2], 0.0)
  loss = lambda a: jnp.sum(contrastive.triplet(a, P, N, MASK))
  zero = jax.jit(jax.grad(loss))(A)
  assert np.all(np.isfinite(zero))


@variants.every
def test_info_nce_by_hand(variant):
  u = jnp.array([[[1.0, 0.0], [0.0, 2.0], [NAN, NAN]]] * 2)
  v = jnp.array([[[3.0, 0.0], [1.0, 1.0], [NAN, 0.0]]] * 2)
  mask = jnp.array([[True, True, False]] * 2)
  actual = variant(lambda *a: contrastive.info_nce(*a, temperature=0.5))(
      u, v, mask
  )
  c = np.sqrt(0.5)
  first = np.log(np.exp(2) + np.exp(2 * c)) - 2
  second = np.log(np.exp(0) + np.exp(2 * c)) - 2 * c
  np.testing.assert_allclose(actual, [[first, second, 0]] * 2, rtol=1e-5)


def test_info_nce_limits():
  eye = np.eye(4)
  assert np.max(info_nce(eye, eye, temperature=0.01)) < 1e-6
  same = np.ones((4, 3))
  np.testing.assert_allclose(info_nce(same, same), np.log(4), rtol=1e-6)
  one = info_nce(np.ones((1, 3)), -np.ones((1, 3)))
  np.testing.assert_allclose(one, [0.0])


def test_info_nce_masked_rows_reach_no_gradient():
  u = np.array([[1.0, 0.2], [0.3, 2.0], [NAN, NAN]])
  mask = np.array([True, True, False])
  total = lambda u, m: jnp.sum(contrastive.info_nce(u, 2 * u, m))
  find = jax.jit(jax.grad(total))
  slope = np.asarray(find(u, mask))
  np.testing.assert_array_equal(slope[2], 0.0)
  clean = find(u[:2], None)
  np.testing.assert_allclose(slope[:2], clean, rtol=1e-4, atol=1e-6)
  nothing = find(u, np.zeros(3, bool))
  np.testing.assert_array_equal(nothing, 0.0)


def test_sources_come_before_their_goals():
  uniforms = np.random.default_rng(0).random((5, 400, 2), np.float32)
  mask = np.array([
      [True] * 6,
      [False, True, False, True, True, False],
      [True, True, False, False, False, False],
      [False, False, False, True, False, False],
      [False] * 6,
  ])
  drawn = jax.jit(contrastive.goal_positions)(uniforms, mask)
  drawn = jax.tree.map(np.asarray, drawn)
  np.testing.assert_array_equal(drawn.valid[:, 0], [1, 1, 1, 0, 0])
  for row in range(3):
    source, goal = drawn.source[row], drawn.goal[row]
    assert np.all(source < goal)
    places = np.flatnonzero(mask[row])
    assert set(source) == set(places[:-1]) and set(goal) == set(places[1:])


def test_goal_positions_of_given_draws():
  mask = jnp.array([False, True, True, False, True, True, True])
  draws = jnp.array([[0.0, 0.0], [0.9999999, 0.0], [0.6, 0.3], [1.0, 1.0]])
  drawn = jax.jit(contrastive.goal_positions)(draws, mask)
  # Four gaps: places 0 0, 0 3, 1 2 and 3 3, the goal one further.
  np.testing.assert_array_equal(drawn.source, [1, 1, 2, 5])
  np.testing.assert_array_equal(drawn.goal, [2, 6, 5, 6])


def states(seed, shape=(3, 4, 6)):
  draws = np.random.default_rng(seed).normal(size=(4, *shape))
  return list(draws.astype(np.float32))


def test_goal_contrastive_against_loops():
  given = states(1)
  mask = np.arange(4) < np.array([4, 2, 1])[:, None]
  cos = lambda x, y: x @ y / np.linalg.norm(x) / np.linalg.norm(y)
  s, g, o, n = (np.asarray(x, np.float64) for x in given)

  def mean(x, y):
    found = [
        1 / (1 + np.exp(-cos(x[b, i], y[b, j])))
        for b in range(3) for i in range(4) for j in range(4)
        if mask[b, i] and mask[b, j]
    ]
    return np.mean(found)

  expected = -np.log(mean(s, g)) - np.log(1 - mean(o, n))
  hidden = [np.where(mask[..., None], x, NAN) for x in given]
  both = jax.jit(jax.value_and_grad(contrastive.goal_contrastive))
  actual, slope = map(np.asarray, both(*hidden, mask, mask))
  np.testing.assert_allclose(actual, expected, rtol=1e-5)
  assert np.all(np.isfinite(slope)) and np.all(slope[1, 2:] == 0)
  assert np.any(slope[1, :2] != 0)


def test_goal_contrastive_bounds_and_scale():
  x = np.ones((2, 3, 4))
  best = goal_contrastive(x, x, x, -x)
  np.testing.assert_allclose(best, 0.626523, atol=1e-6)
  zeros = np.zeros_like(x)
  none = goal_contrastive(x, zeros, x, zeros)
  np.testing.assert_allclose(none, 2 * np.log(2), rtol=1e-6)
  given = states(2)
  a = goal_contrastive(*given)
  b = goal_contrastive(*(100 * x for x in given))
  np.testing.assert_allclose(a, b, rtol=1e-5)
  nobody = np.zeros((3, 4), bool)
  empty = goal_contrastive(*given, nobody, nobody)
  np.testing.assert_allclose(empty, 2 * np.log(2), rtol=1e-6)


def test_names_bad_arguments(no_jaxtyping):
  x = jnp.ones((3, 2))
  with pytest.raises(ValueError, match=r"triplet: margin must be in \[0, 4\]"):
    contrastive.triplet(x, x, x, margin=5.0)
  with pytest.raises(ValueError, match="'negative': \\(2, 2\\)"):
    contrastive.triplet(x, x, x[:2])
  with pytest.raises(ValueError, match="'mask': \\(2,\\)"):
    contrastive.info_nce(x, x, jnp.ones(2, bool))
  with pytest.raises(ValueError, match="info_nce: temperature must be in"):
    contrastive.info_nce(x, x, temperature=0.0)
