import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diffusion import one_step, schedules

FLOW = schedules.rectified_flow()
X0, EPS = jnp.array([[1.0, 2.0], [-3.0, 0.5]]), jnp.array([[-0.5, 1.0]] * 2)
T = jnp.array([0.6, 0.25])


@pytest.mark.parametrize("kind", ["eps", "v"])
def test_an_exact_prediction_gives_the_data_back(kind):
  truth = {"eps": EPS, "v": EPS - X0}[kind]
  pair = one_step.paired_generations(
      lambda x, t: truth, X0, EPS, T, step=0.1, schedule=FLOW, kind=kind
  )
  np.testing.assert_allclose(pair.first, X0, atol=3e-6)
  np.testing.assert_allclose(pair.second, X0, atol=3e-6)


def test_pair_sees_two_times_and_one_noise():
  """The model that says x_t is the data."""
  pair = one_step.paired_generations(
      lambda x, t: x, X0, EPS, T, step=0.1, schedule=FLOW, kind="x0"
  )
  t = np.asarray(T)[:, None]
  mix = lambda t: (1 - t) * np.asarray(X0) + t * np.asarray(EPS)
  np.testing.assert_allclose(pair.first, mix(t), rtol=1e-5)
  np.testing.assert_allclose(pair.second, mix(t + 0.1), rtol=1e-5)


def test_gradient_reaches_the_model():
  guess = lambda a: jnp.sum(one_step.one_step_x0(
      lambda x, t: a * x, X0, EPS, T, schedule=FLOW, kind="v"
  ))
  x = schedules.add_noise(FLOW, X0, EPS, T)
  expected = -jnp.sum(T[:, None] * x)  # x0 = x - t v
  np.testing.assert_allclose(jax.grad(guess)(0.3), expected, rtol=1e-5)
