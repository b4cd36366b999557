import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from rewardjax.objectives import value
from tests import variants

LOSS = functools.partial(value.clipped_value_loss, clip=0.2)
VALUES = jnp.array([[0.5, 1.0, 1.0, -1.0], [0.0, 0.1, 2.0, 0.0]])
BEHAVIOR = jnp.array([[0.5, 0.5, 1.5, 0.0], [0.0, 0.0, 2.0, 0.0]])
RETURNS = jnp.array([[1.0, 2.0, 2.0, -2.0], [0.0, 1.0, 1.0, 3.0]])


@variants.every
def test_clipped_value_loss_by_hand(variant):
  # The clipped values are .5, .7, 1.3, -.2; and 0, .1, 2, 0.
  expected = [
      [0.5 * 0.25, 0.5 * 1.3**2, 0.5 * 1.0, 0.5 * 1.8**2],
      [0.0, 0.5 * 0.81, 0.5, 4.5],
  ]
  actual = variant(LOSS)(VALUES, BEHAVIOR, RETURNS)
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_gradient_stops_beyond_the_clip_and_data_is_held():
  slopes = jax.grad(lambda *x: jnp.sum(LOSS(*x)), argnums=(0, 1, 2))(
      VALUES, BEHAVIOR, RETURNS
  )
  # Moved by .5 towards the return: no slope. Moved away from it: still pulled.
  expected = [[-0.5, 0.0, -1.0, 0.0], [0.0, -0.9, 1.0, -3.0]]
  np.testing.assert_allclose(slopes[0], expected, rtol=1e-6)
  np.testing.assert_array_equal(slopes[1], 0.0)
  np.testing.assert_array_equal(slopes[2], 0.0)


def test_gradient_matches_finite_differences():
  with jax.enable_x64(True):
    values = VALUES.astype(jnp.float64)
    call = jax.jit(lambda v: LOSS(v, BEHAVIOR, RETURNS))
    # Off the kinks, where both branches are equal.
    check_grads(call, (values + 0.01,), order=1, rtol=1e-6)


def test_a_wide_clip_is_half_the_squared_error():
  actual = value.clipped_value_loss(VALUES, BEHAVIOR, RETURNS, clip=100.0)
  np.testing.assert_allclose(actual, 0.5 * (VALUES - RETURNS) ** 2, rtol=1e-6)


def test_widens_bfloat16():
  half = jnp.ones(3, jnp.bfloat16)
  assert LOSS(half, half, half).dtype == jnp.float32


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="'returns': \\(3,\\)"):
    LOSS(jnp.ones(2), jnp.ones(2), jnp.ones(3))
  with pytest.raises(ValueError, match="clip must be in"):
    value.clipped_value_loss(VALUES, BEHAVIOR, RETURNS, clip=-1.0)
