import jax.numpy as jnp
import numpy as np
import pytest

from experiments.reward_studies.beds import flow
from rewardjax.diffusion import schedules, transitions

FLOW = schedules.rectified_flow()
VP = schedules.vp(lambda t: 1 - t)  # alpha bar itself is 1 - t
coeffs = transitions.transition_coeffs
at = lambda *xs: tuple(jnp.array(x) for x in xs)


def check(actual, *expected):
  np.testing.assert_allclose(
      [float(x) for x in actual], expected, rtol=2e-5, atol=1e-6
  )


def test_coefficients_by_hand():
  check(coeffs("ode", FLOW, *at(0.6, 0.4)), 0.6, 0.4, 0.0)
  sde = coeffs("flow_sde", FLOW, *at(0.6, 0.4), eta=0.7)
  check(sde, 0.6, 0.2775, 0.383406)
  assert float(sde.x0 - 0.5 * sde.eps) == pytest.approx(0.46125)
  first = coeffs("flow_sde", FLOW, *at(1.0, 0.9), eta=0.7, latest=0.9)
  check(first, 0.1, 0.655, 0.7)
  ddim = coeffs("ddim", VP, *at(0.5, 0.2), eta=1.0)
  check(ddim, 0.894427, 0.223607, 0.387298)


def test_full_ddim_is_the_posterior_of_ddpm():
  """In x0 and x_t: 0.670820 and 0.316228."""
  step = coeffs("ddim", VP, *at(0.5, 0.2), eta=1.0)
  of_x = float(step.eps) / np.sqrt(0.5)  # eps = (x - alpha x0) / sigma
  of_x0 = float(step.x0) - float(step.eps)
  np.testing.assert_allclose([of_x0, of_x], [0.670820, 0.316228], rtol=1e-5)


def test_nominal_noise_is_kept_by_ddim_and_exceeded_by_the_sde():
  t, s = at(0.6, 0.4)
  ddim = coeffs("ddim", VP, t, s, eta=0.6)
  assert float(ddim.eps**2 + ddim.std**2) == pytest.approx(0.4, rel=1e-6)
  sde = coeffs("flow_sde", FLOW, t, s, eta=0.7)
  g2, dt = 0.49 * 0.6 / 0.4, 0.2
  extra = g2 * dt**2 / 0.6 + g2**2 * dt**2 / (4 * 0.36)
  total = float(sde.eps**2 + sde.std**2)
  assert total == pytest.approx(0.16 + extra, rel=1e-5)
  assert total == pytest.approx(0.224006, rel=1e-5)


def test_edges_of_the_grid():
  check(coeffs("ddim", VP, *at(0.2, 0.0), eta=1.0), 1.0, 0.0, 0.0)
  check(coeffs("ddim", VP, *at(1.0, 0.5), eta=0.0), 0.5**0.5, 0.5**0.5, 0.0)
  # The last step leaves -g^2 / 2 of the noise: negative, and left so.
  times = schedules.time_grid(10, shift=3.0)
  sde = coeffs("flow_sde", FLOW, times[:-1], times[1:], eta=0.7,
               latest=times[1])
  assert np.all(np.isfinite(jnp.stack(sde)))
  assert float(times[9]) == pytest.approx(0.25)
  assert float(sde.eps[9]) == pytest.approx(-0.49 * 0.25 / 0.75 / 2, rel=1e-5)


@pytest.mark.parametrize(
    "kind, eta, expected",
    [
        ("ode", 0.0, {10: 0.43078, 50: 0.48540, 200: 0.49631}),
        ("flow_sde", 0.7, {10: 0.47954, 50: 0.49846, 200: 0.50103}),
    ],
)
def test_spread_of_samples_in_closed_form(kind, eta, expected):
  """Data N(1, 0.5^2), the exact denoiser: mean and variance recur linearly."""
  for num_steps, std in expected.items():
    times = schedules.time_grid(num_steps)
    step = coeffs(kind, FLOW, times[:-1], times[1:], eta=eta, latest=times[1])
    gains, offsets = _line(times[:-1], step)
    mean, variance = 0.0, 1.0
    for gain, offset, noise in zip(gains, offsets, np.asarray(step.std)):
      mean = gain * mean + offset
      variance = gain**2 * variance + noise**2
    assert mean == pytest.approx(1.0, abs=1e-4)
    assert variance**0.5 == pytest.approx(std, abs=2e-5)


def _line(times, step):
  """The mean of each step as gain x + offset."""
  ends = lambda x: flow.gaussian_ends(
      FLOW, jnp.full(times.shape, x), times, mean=1.0, std=0.5
  )
  means = lambda x: np.asarray(step.x0 * ends(x).x0 + step.eps * ends(x).eps)
  return means(1.0) - means(0.0), means(0.0)


def test_errors_list_choices(no_jaxtyping):
  with pytest.raises(ValueError, match="kind must be one of ode, ddim, flow_s"):
    coeffs("cps", FLOW, *at(0.6, 0.4))
  with pytest.raises(ValueError, match="eta must be in"):
    coeffs("ddim", VP, *at(0.6, 0.4), eta=-1.0)
