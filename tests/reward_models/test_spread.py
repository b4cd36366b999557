import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.reward_models import spread
from tests import variants

spread = variants.programs(spread)

NAN = jnp.nan
REWARDS = jnp.array([[0.0, 1.0, 3.0, NAN], [5.0, NAN, NAN, NAN]])
MASK = jnp.array([[True, True, True, False], [True, False, False, False]])


@variants.every
def test_by_hand(variant):
  actual = variant(spread.meta_difference)(REWARDS, MASK)
  np.testing.assert_allclose(actual, [0.569873, 0], rtol=1e-5)


def test_bounds_and_shifts():
  equal = spread.meta_difference(jnp.full(4, 7.0))
  assert equal == pytest.approx(3 / 8)  # (k - 1) / 2k
  far = spread.meta_difference(jnp.array([0.0, 1e3, 2e3, 3e3]))
  assert far == pytest.approx(3 / 4)
  a, b = (spread.meta_difference(REWARDS + c, MASK) for c in (0.0, 9.0))
  np.testing.assert_allclose(a, b, rtol=1e-5)


def test_gradient_against_differences_and_zero_between_equals():
  with jax.enable_x64(True):
    r, h = jnp.array([0.2, 1.0, -0.7]), 1e-6
    expected = [
        (spread.meta_difference(r.at[i].add(h))
         - spread.meta_difference(r.at[i].add(-h))) / (2 * h)
        for i in range(3)
    ]
    actual = variants.grad(spread.meta_difference)(r)
    np.testing.assert_allclose(actual, expected, atol=1e-8)
  total = lambda r: jnp.sum(spread.meta_difference(r, MASK))
  assert np.all(np.isfinite(variants.grad(total)(REWARDS)))
  same = variants.grad(spread.meta_difference)(jnp.ones(3))
  np.testing.assert_array_equal(same, 0)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'mask': \(2,\)"):
    spread.meta_difference(jnp.ones(3), jnp.ones(2, bool))
