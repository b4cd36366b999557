import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.models import layers


def test_rotation_by_hand():
  """Positions 0 and 2, four channels, base 100: angles 2 and 0.2."""
  turned = layers.rotation(jnp.array([0, 2]), 3, 4, 100.0)
  np.testing.assert_allclose(turned.cos[1], np.cos([2, 0.2]), rtol=1e-6)
  x = jnp.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 4)
  x = jnp.tile(x, (2, 1, 1))
  actual = layers.rotate(x, turned)[:, 0]
  c, s = np.cos([2, 0.2]), np.sin([2, 0.2])
  # Pairs are (1, 3) and (2, 4).
  expected = [
      c[0] - 3 * s[0],
      2 * c[1] - 4 * s[1],
      3 * c[0] + s[0],
      4 * c[1] + 2 * s[1],
  ]
  np.testing.assert_allclose(actual[0], [1, 2, 3, 4])
  np.testing.assert_allclose(actual[1], expected, rtol=1e-6)


def test_rotated_products_depend_on_distances_only():
  keys = jax.random.split(jax.random.key(0), 2)
  q, k = (jax.random.normal(key, (1, 1, 8)) for key in keys)
  at = lambda x, t: layers.rotate(
      x, layers.rotation(jnp.full(1, t), 128, 8, 1e4)
  )
  near = jnp.vdot(at(q, 3), at(k, 1))
  far = jnp.vdot(at(q, 103), at(k, 101))
  np.testing.assert_allclose(near, far, rtol=1e-5)


def test_rms_norm_sums_bfloat16_in_float32():
  x = 100 * jax.random.normal(jax.random.key(0), (3, 512), jnp.bfloat16)
  actual = layers.RMSNorm().apply({"params": {"scale": jnp.ones(512)}}, x)
  wide = np.asarray(x, np.float64)
  expected = wide / np.sqrt(np.mean(wide**2, -1, keepdims=True))
  assert actual.dtype == jnp.bfloat16
  np.testing.assert_allclose(
      np.asarray(actual, np.float64), expected, rtol=2**-8
  )


def test_an_adapted_kernel_by_hand():
  """x = (1, 2): x @ kernel = (5, 8), x @ down = 3, times up = (30, 300)."""
  kernel = layers.Adapted(
      jnp.array([[1.0, 2.0], [2.0, 3.0]]),
      jnp.array([[1.0], [1.0]]),
      jnp.array([[10.0, 100.0]]),
  )
  dense = layers.Dense(2, use_bias=True, dtype=jnp.float32)
  params = {"kernel": kernel, "bias": jnp.array([0.5, 0.25])}
  actual = dense.apply({"params": params}, jnp.array([[1.0, 2.0]]))
  np.testing.assert_allclose(actual, [[35.5, 308.25]])
