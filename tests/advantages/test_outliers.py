import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages.outliers import whiten_without_outliers
from tests import variants

NAN = jnp.nan


def test_a_lone_outlier_of_twenty_is_dropped():
  one = jnp.zeros(20).at[7].set(1.0)
  z = whiten_without_outliers(one, threshold=10.0)
  np.testing.assert_allclose(z[7], 4.359, atol=1e-3)
  kept = whiten_without_outliers(one)
  assert kept[7] == 0
  # The others stay where the outlier has put them.
  np.testing.assert_array_equal(jnp.delete(kept, 7), jnp.delete(z, 7))


@pytest.mark.parametrize("n", [9, 10, 11, 12])
def test_statistics_of_one_group_would_drop_its_only_success(n):
  group = jnp.zeros(n).at[0].set(1.0)
  z = whiten_without_outliers(group, threshold=100.0)
  np.testing.assert_allclose(z[0], np.sqrt(n - 1), rtol=1e-5)
  assert (whiten_without_outliers(group)[0] == 0) == (n >= 11)
  # Beside other groups it is nothing special.
  batch = jnp.stack([group, jnp.arange(n) % 2.0])
  assert whiten_without_outliers(batch)[0, 0] > 0


@variants.every
def test_by_hand(variant):
  # Every member of the mapped batch is a batch of its own.
  x = jnp.array([[1.0, 3.0, NAN, jnp.inf], [3.0, 1.0, -jnp.inf, NAN]])
  mask = jnp.array([[True, True, False, True], [True, True, True, True]])
  actual = variant(whiten_without_outliers)(x, mask)
  np.testing.assert_allclose(actual, [[-1, 1, 0, 0], [1, -1, 0, 0]], rtol=1e-6)


def test_equals_float64_numpy():
  random = np.random.default_rng(0)
  x = random.standard_t(2, (40, 30))
  mask = random.random(x.shape) < 0.8
  mean, std = x[mask].mean(), x[mask].std()
  z = np.where(mask, (x - mean) / std, 0)
  expected = np.where(np.abs(z) > 2.5, 0, z)
  assert np.sum(np.abs(z) > 2.5) > 5
  actual = whiten_without_outliers(
      jnp.array(x), jnp.array(mask), threshold=2.5
  )
  np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_edges_and_gradient():
  nothing = jnp.zeros(3, bool)
  x = jnp.array([1.0, NAN, jnp.inf])
  np.testing.assert_array_equal(whiten_without_outliers(x, nothing), 0)
  np.testing.assert_array_equal(whiten_without_outliers(x), 0)  # one is left
  np.testing.assert_array_equal(whiten_without_outliers(jnp.full(5, 0.1)), 0)
  wide = whiten_without_outliers(jnp.array([1.0, 2.0], jnp.bfloat16))
  assert wide.dtype == jnp.float32
  loss = lambda x: jnp.vdot(jnp.arange(1.0, 5.0), whiten_without_outliers(x))
  slope = variants.grad(loss)(jnp.array([0.0, 1.0, NAN, 3.0]))
  assert jnp.all(jnp.isfinite(slope)) and slope[2] == 0
  # Unmoved by a shift: the slopes add up to nothing.
  np.testing.assert_allclose(jnp.sum(slope), 0, atol=1e-6)


def test_errors(no_jaxtyping):
  with pytest.raises(ValueError, match=r"threshold must be in \(0, inf\]"):
    whiten_without_outliers(jnp.ones(2), threshold=0.0)
  with pytest.raises(ValueError, match=r"'mask': \(3,\)"):
    whiten_without_outliers(jnp.ones(2), jnp.ones(3, bool))
