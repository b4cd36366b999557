import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diffusion import schedules
from tests import variants

FLOW = schedules.rectified_flow()
VP = schedules.vp(schedules.cosine_alpha_bar)
X0, EPS = jnp.array([[1.0, 2.0], [-3.0, 0.5]]), jnp.array([[-0.5, 1.0]] * 2)
T = jnp.array([0.6, 0.25])


def test_rectified_flow_by_hand():
  x0, eps = jnp.array([1.0]), jnp.array([-0.5])
  x = schedules.add_noise(FLOW, x0, eps, 0.6)
  np.testing.assert_allclose(x, [0.1], atol=1e-6)
  ends = schedules.Endpoints(x0, eps)
  np.testing.assert_allclose(schedules.velocity(FLOW, ends, 0.6), [-1.5])
  np.testing.assert_allclose(
      schedules.score(FLOW, ends, 0.6), [0.5 / 0.6], rtol=1e-6
  )


@variants.every
def test_add_noise_takes_one_time_per_sample(variant):
  actual = variant(lambda *args: schedules.add_noise(FLOW, *args))(X0, EPS, T)
  t = np.asarray(T)[:, None]
  expected = (1 - t) * np.asarray(X0) + t * np.asarray(EPS)
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("schedule", [FLOW, VP], ids=["flow", "vp"])
@pytest.mark.parametrize("kind", ["eps", "x0", "v", "score"])
def test_every_kind_leads_back_to_data_and_noise(schedule, kind):
  x = schedules.add_noise(schedule, X0, EPS, T)
  t = np.asarray(T, np.float64)[:, None]
  if schedule is FLOW:
    sigma, v = t, EPS - X0
  else:
    alpha, sigma = np.cos(np.pi / 2 * t), np.sin(np.pi / 2 * t)
    v = alpha * EPS - sigma * X0
  output = {"eps": EPS, "x0": X0, "v": v, "score": -EPS / sigma}[kind]
  ends = schedules.to_x0_eps(schedule, jnp.asarray(output), x, T, kind=kind)
  np.testing.assert_allclose(ends.x0, X0, atol=3e-6)
  np.testing.assert_allclose(ends.eps, EPS, atol=3e-6)


def test_velocity_is_the_slope_of_the_path():
  ends = schedules.Endpoints(X0, EPS)
  path = lambda t: schedules.add_noise(VP, X0, EPS, t)
  slope = (path(T + 1e-2) - path(T - 1e-2)) / 2e-2
  np.testing.assert_allclose(
      schedules.velocity(VP, ends, T), slope, rtol=1e-3, atol=1e-4
  )
  np.testing.assert_allclose(schedules.velocity(FLOW, ends, T), EPS - X0)


def test_data_and_v_are_finite_where_there_is_no_data():
  for kind in ("x0", "v"):
    ends = schedules.to_x0_eps(VP, X0, EPS, 1.0, kind=kind)
    assert np.all(np.isfinite(jnp.stack(ends)))


def test_time_grid_by_hand():
  np.testing.assert_allclose(schedules.time_grid(4), [1, 0.75, 0.5, 0.25, 0])
  # 3 u / (1 + 2 u)
  np.testing.assert_allclose(
      schedules.time_grid(2, shift=3.0), [1, 0.75, 0], rtol=1e-6
  )


def test_bfloat16_is_widened():
  narrow = X0.astype(jnp.bfloat16)
  assert schedules.add_noise(FLOW, narrow, narrow, 0.3).dtype == jnp.float32


def test_gradient_reaches_both_ends():
  total = lambda x0, eps: jnp.sum(schedules.add_noise(FLOW, x0, eps, T))
  x0, eps = jax.grad(total, (0, 1))(X0, EPS)
  np.testing.assert_allclose(x0, (1 - T)[:, None] * jnp.ones((2, 2)))
  np.testing.assert_allclose(eps, T[:, None] * jnp.ones((2, 2)))


def test_errors_name_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'eps': \(2,\)"):
    schedules.add_noise(FLOW, X0, EPS[0], 0.5)
  with pytest.raises(ValueError, match="t must broadcast to"):
    schedules.add_noise(FLOW, X0, EPS, jnp.ones(3))
  with pytest.raises(ValueError, match="kind must be one of eps, x0, v, score"):
    schedules.to_x0_eps(FLOW, X0, X0, 0.5, kind="noise")
  with pytest.raises(ValueError, match="num_steps must be in"):
    schedules.time_grid(0)
  with pytest.raises(ValueError, match="shift must be in"):
    schedules.time_grid(2, shift=0.0)
