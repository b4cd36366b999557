import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.models.denoisers import TimeMLP

X = jnp.array([[0.5, -1.0], [2.0, 0.1], [0.0, 0.3]])
T = jnp.array([0.1, 0.9, 0.5])
CONDITION = jnp.eye(3)


def test_first_output_is_zero_and_float32():
  net = TimeMLP((8,), dtype=jnp.bfloat16)
  params = net.init(jax.random.key(0), X, T)
  out = net.apply(params, X, T)
  assert out.dtype == jnp.float32
  np.testing.assert_array_equal(out, 0.0)


def test_reads_sample_time_and_condition_row_by_row():
  net = TimeMLP((8, 8))
  params = net.init(jax.random.key(0), X, T, CONDITION)
  params = jax.tree.map(lambda p: p + 0.3, params)
  out = net.apply(params, X, T, CONDITION)
  for i in range(3):
    one = net.apply(params, X[i], T[i], CONDITION[i])
    np.testing.assert_allclose(one, out[i], rtol=1e-5)
  for changed in (
      (X + 1, T, CONDITION), (X, T / 2, CONDITION), (X, T, CONDITION[::-1])
  ):
    assert np.any(np.abs(net.apply(params, *changed) - out) > 1e-3)


def test_octaves_by_hand():
  """Without hidden layers the output is linear in the time features."""
  net = TimeMLP((), octaves=2)
  params = net.init(jax.random.key(0), X, T)
  assert params["params"]["Dense_0"]["kernel"].shape == (2 + 1 + 4, 2)
  sizes = jnp.array([1.0, 10, 100, 1000])
  weights = jnp.zeros((7, 2)).at[3:].set(sizes[:, None])
  params = {"params": {"Dense_0": {"kernel": weights, "bias": jnp.zeros(2)}}}
  t = np.asarray(T, np.float64)
  expected = (
      np.sin(np.pi * t) + 10 * np.sin(2 * np.pi * t)
      + 100 * np.cos(np.pi * t) + 1000 * np.cos(2 * np.pi * t)
  )
  np.testing.assert_allclose(net.apply(params, X, T)[:, 0], expected, rtol=1e-4)
