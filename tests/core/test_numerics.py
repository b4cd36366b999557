import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import numerics
from tests import variants

NAN, INF = jnp.nan, jnp.inf
X = jnp.array([[-1e-6, -0.5, -0.7], [-30.0, -INF, 0.0]])


@variants.every
def test_log1mexp_against_float64(variant):
  actual = variant(numerics.log1mexp)(X)
  with np.errstate(divide="ignore"):
    expected = np.log(-np.expm1(np.asarray(X, np.float64)))
  # The CPU's exp(-30) itself is good to four digits only.
  np.testing.assert_allclose(actual, expected, rtol=1e-3)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_log1mexp_gradient_at_the_edges(wrap):
  gradient = wrap(jax.grad(lambda x: jnp.sum(numerics.log1mexp(x))))
  x = np.asarray(X, np.float64)
  with np.errstate(divide="ignore", over="ignore"):
    expected = np.where(x == 0, -np.inf, -np.exp(x) / -np.expm1(x))
  np.testing.assert_allclose(gradient(X), expected, rtol=1e-4)


def test_log1mexp_of_bfloat16_is_widened_first():
  x = jnp.asarray([-1.0, -5.0], jnp.bfloat16)
  actual = numerics.log1mexp(x)
  assert actual.dtype == jnp.float32
  expected = np.log(-np.expm1(np.asarray(x, np.float64)))
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_log1mexp_is_its_own_inverse():
  x = -jnp.geomspace(1e-3, 10.0, 50)
  twice = numerics.log1mexp(numerics.log1mexp(x))
  np.testing.assert_allclose(twice, x, rtol=1e-3)


ROWS = jnp.log(jnp.array([[1.0, 3.0, 8.0], [2.0, 4.0, 5.0]]))
MASK = jnp.array([[True, True, False], [False, False, False]])


@variants.every
def test_log_mean_exp_by_hand(variant):
  wild = jnp.where(MASK, ROWS, NAN)
  actual = variant(numerics.log_mean_exp)(wild, MASK)
  np.testing.assert_allclose(actual, [np.log(2), -np.inf], rtol=1e-6)


def test_log_mean_exp_gradient_and_overflow():
  wild = jnp.where(MASK, ROWS, NAN)
  weights = jnp.array([2.0, 3.0])
  loss = lambda x: jnp.vdot(
      weights, jnp.maximum(numerics.log_mean_exp(x, MASK), -100.0)
  )
  gradient = jax.grad(loss)(wild)
  expected = [[0.5, 1.5, 0], [0, 0, 0]]
  np.testing.assert_allclose(gradient, expected, rtol=1e-6)
  huge = jnp.array([500.0, 500.0])
  np.testing.assert_allclose(numerics.log_mean_exp(huge), 500.0)
  assert numerics.log_mean_exp(huge.astype(jnp.bfloat16)).dtype == jnp.float32


def test_log_mean_exp_names_its_mask(no_jaxtyping):
  with pytest.raises(ValueError, match=r"log_mean_exp: .*'mask': \(3,\)"):
    numerics.log_mean_exp(ROWS, MASK[0])


@variants.every
def test_bounded_exp_by_hand(variant):
  x = jnp.array([[0.0, 3.0], [-9.0, -INF]])
  actual = variant(lambda x: numerics.bounded_exp(x, 2))(x)
  np.testing.assert_allclose(
      actual, [[1, np.exp(2)], [np.exp(-2), np.exp(-2)]], rtol=1e-6
  )


def test_bounded_exp_gradient_is_zero_outside():
  x = jnp.array([1.0, 50.0, -INF])
  gradient = jax.grad(lambda x: jnp.sum(numerics.bounded_exp(x)))(x)
  np.testing.assert_allclose(gradient, [np.e, 0, 0], rtol=1e-6)
  assert jnp.isfinite(numerics.bounded_exp(jnp.asarray(6e4, jnp.float16)))


@variants.every
def test_sign_floor_by_hand(variant):
  x = jnp.array([[0.0, -0.01, 0.01], [0.3, -0.3, -0.05]])
  actual = variant(lambda x: numerics.sign_floor(x, 0.05))(x)
  expected = [[0.05, -0.05, 0.05], [0.3, -0.3, -0.05]]
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_sign_floor_gradient_is_one_beyond_the_floor():
  x = jnp.array([0.0, -0.01, 0.3, -0.3])
  for floor in (0.05, jnp.asarray(0.05)):
    floored = lambda x: jnp.sum(numerics.sign_floor(x, floor))  # noqa: B023
    np.testing.assert_array_equal(jax.grad(floored)(x), [0, 0, 1, 1])
  kept = numerics.sign_floor(x.astype(jnp.bfloat16), 0.05)
  assert kept.dtype == jnp.bfloat16


def _plain(x, y):
  return x * y.reshape((1,) * (x.ndim - 1) + y.shape)


@pytest.mark.parametrize("shape", [(5, 1), (2, 3, 1)])
def test_outer_equals_the_product_in_every_derivative(shape):
  """Values; gradients of both, of one alone, forward, mapped and second."""
  draw = np.random.default_rng(0).normal
  normal = lambda *s: jnp.asarray(draw(size=s), jnp.float32)
  x, y, weights = normal(*shape), normal(4), normal(*shape[:-1], 4)

  def everything(f, x, y):
    loss = lambda x, y: jnp.sum(weights * f(x, y) ** 2)
    both = jax.grad(loss, (0, 1))
    norm = lambda x, y: sum(jnp.sum(g**2) for g in both(x, y))
    return dict(
        value=f(x, y),
        both=both(x, y),
        alone=(jax.grad(loss, 0)(x, y), jax.grad(loss, 1)(x, y)),
        forward=jax.jvp(f, (x, y), (x + 1, y - 1)),
        of_x=jax.jvp(lambda x: f(x, y), (x,), (x + 1,)),
        mapped=jax.vmap(both, (None, 0))(x, jnp.stack([y, 2 * y])),
        second=jax.grad(norm, (0, 1))(x, y),
    )

  f = jax.jit(everything, static_argnums=0)
  found = f(numerics.outer, x, y), f(_plain, x, y)
  for a, b in zip(*map(jax.tree.leaves, found), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)
