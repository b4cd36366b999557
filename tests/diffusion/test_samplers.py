import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from experiments.reward_studies.beds import flow
from rewardjax.diffusion import guidance, samplers, schedules
from tests import variants

samplers = variants.programs(samplers)

FLOW = schedules.rectified_flow()
SDE = samplers.Process(FLOW, "v", "flow_sde", 0.7)
TIMES = schedules.time_grid(4)
START = jnp.array([[0.3, -1.0, 2.0], [1.5, 0.2, -0.4]])


def linear(slope):
  return lambda x, t: slope * x + t[:, None]


def run(stochastic=None, process=SDE, times=TIMES):
  return samplers.rollout(
      jax.random.key(0), linear(0.3), START, times,
      process=process, stochastic=stochastic,
  )


def test_log_probs_are_those_of_scipy():
  path = run()
  expected = scipy.stats.norm.logpdf(
      path.x[1:], path.mean, path.std[:, None, None]
  ).sum(-1)
  np.testing.assert_allclose(path.log_probs, expected, rtol=2e-4, atol=1e-4)
  assert path.mask.all() and path.x.shape == (5, 2, 3)


@variants.op_by_op()
def test_log_density_of_given_residuals():
  """S = 0.383406, residuals S and -S/2: -0.460277 and -0.085277."""
  s = jnp.array(0.383406)
  found = samplers.gaussian_log_prob(
      jnp.array([[0.383406], [-0.191703]]), jnp.zeros((2, 1)), s
  )
  expected = np.array([-0.5, -0.125]) - np.log(0.383406 * np.sqrt(2 * np.pi))
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  # Of the residual -S/2; the other is -0.460277.
  np.testing.assert_allclose(found, [-0.460277, -0.085277], atol=1e-5)


def test_recomputed_log_probs_are_the_stored_ones():
  half = jnp.array([True, False, True, False])
  for stochastic in (None, half):
    path = run(stochastic)
    again = samplers.step_log_probs(
        linear(0.3), path.x, TIMES, process=SDE, stochastic=stochastic
    )
    np.testing.assert_allclose(again, path.log_probs, atol=1e-5)
  other = samplers.step_log_probs(linear(0.5), path.x, TIMES, process=SDE)
  assert np.all(np.abs(other - run().log_probs) > 1e-4)


def test_masked_steps_are_deterministic_and_teach_nothing():
  half = jnp.array([True, False, True, False])
  path = run(half)
  np.testing.assert_array_equal(path.mask, half)
  np.testing.assert_array_equal(path.log_probs[1], 0.0)
  np.testing.assert_array_equal(path.x[2], path.mean[1])
  slope = jax.jacobian(
      lambda a: samplers.step_log_probs(
          linear(a), path.x, TIMES, process=SDE, stochastic=half
      )
  )(0.3)
  np.testing.assert_array_equal(slope[1], 0.0)
  assert np.all(slope[0] != 0)


def test_the_path_is_held():
  path = run()
  slope = variants.grad(
      lambda x: jnp.sum(
          samplers.step_log_probs(linear(0.3), x, TIMES, process=SDE)
      )
  )(path.x)
  np.testing.assert_array_equal(slope, 0.0)


def test_a_last_step_without_noise_is_masked():
  vp = schedules.vp(schedules.cosine_alpha_bar)
  path = run(process=samplers.Process(vp, "x0", "ddim", 1.0))
  np.testing.assert_array_equal(path.mask, [True, True, True, False])
  assert np.all(np.isfinite(path.x)) and np.all(np.isfinite(path.log_probs))


def test_denoising_policy_gradient_is_unbiased():
  """x1 = a x2 + S z, x0 = a x1 + S z, x2 = 1, reward x0^2, on policy.

  dE/da = 4 a^3 + 2 a S^2 = 2.448 at a = .8, S = .5; 1.024 by the first step
  and 1.424 by the second. The draws are those of a Gauss-Hermite grid: the
  expectation is exact.
  """
  a, s = 0.8, 0.5
  nodes, weights = np.polynomial.hermite_e.hermegauss(8)
  weights = weights / weights.sum()
  z1, z0 = map(np.ravel, np.meshgrid(nodes, nodes, indexing="ij"))
  weights = jnp.asarray(np.outer(weights, weights).ravel())
  x1 = jnp.asarray(a + s * z1)
  x0 = jnp.asarray(a * x1 + s * z0)
  column = lambda x: x[:, None]

  def credit(a):
    log_prob = lambda x, mean: samplers.gaussian_log_prob(
        column(x), column(mean), jnp.asarray(s)
    )
    reward = weights * jnp.square(x0)
    first = log_prob(x1, jnp.full(x1.shape, a))
    return jnp.vdot(reward, first), jnp.vdot(reward, log_prob(x0, a * x1))

  first, second = jax.jacobian(credit)(a)
  assert float(first) == pytest.approx(1.024, rel=1e-4)
  assert float(second) == pytest.approx(1.424, rel=1e-4)
  assert float(first + second) == pytest.approx(2.448, rel=1e-4)


@variants.op_by_op()
def test_the_ode_sampler_is_euler():
  ode = run(process=SDE._replace(sampler="ode"))
  assert not ode.mask.any()
  np.testing.assert_allclose(
      ode.x[-1], samplers.euler(linear(0.3), START, TIMES), rtol=1e-5
  )


def test_orders_of_the_integrators():
  """dx/dt = x from t = 1 to 0: e^-1, with errors of order 1 and 2."""
  grow = lambda x, t: x
  one = jnp.ones((1, 1))
  error = lambda f, n: abs(
      float(f(grow, one, schedules.time_grid(n))[0, 0]) - np.exp(-1)
  )
  # By hand: (1 - 1/2)^2, and (1 - 1/2 + 1/8)^2.
  assert error(samplers.euler, 2) == pytest.approx(np.exp(-1) - 0.25, rel=1e-5)
  assert error(samplers.heun, 2) == pytest.approx(0.390625 - np.exp(-1), 1e-4)
  assert error(samplers.euler, 10) / error(samplers.euler, 20) > 1.9
  assert error(samplers.heun, 10) / error(samplers.heun, 20) > 3.7


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_guided_samples_are_the_tilted_gaussian(sign):
  """N(0, 1) and r = a x: N(w a, 1); a = .8 and w = 1.5 give 1.2.

  The flow is linear, so two starts say where all samples go.
  """

  def guided(x, t):
    slope = 0.8 * (1 - t) / (jnp.square(1 - t) + jnp.square(t))
    return guidance.flow_nrg_velocity(
        flow.gaussian_velocity(x, t), slope[:, None] * jnp.ones_like(x), t,
        weight=sign * 1.5,
    )

  times = jnp.linspace(0.999, 0.0, 401)
  ends = samplers.heun(guided, jnp.array([[0.0], [1.0]]), times)[:, 0]
  mean, std = float(ends[0]), float(ends[1] - ends[0])
  assert mean == pytest.approx(sign * 1.2, abs=5e-3)
  assert std == pytest.approx(1.0, abs=5e-3)


def test_velocities_of_the_bed_agree():
  x, t = jnp.array([[0.5], [-2.0]]), jnp.array([0.2, 0.7])
  ends = flow.gaussian_ends(FLOW, x, t)
  np.testing.assert_allclose(
      flow.gaussian_velocity(x, t), schedules.velocity(FLOW, ends, t),
      rtol=1e-5,
  )


def test_errors_name_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'stochastic': \(2,\)"):
    run(jnp.ones(2, bool))
  with pytest.raises(ValueError, match="'reward_gradient'"):
    guidance.flow_nrg_velocity(START, START[0], 0.5, weight=1.0)
