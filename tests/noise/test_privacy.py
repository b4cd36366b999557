import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from rewardjax.noise import channels, privacy
from rewardjax.types import NoiseRates
from tests import variants

channels = variants.programs(channels)
privacy = variants.programs(privacy)

KEY = jax.random.key(0)


def test_constant_response_by_hand():
  rates = privacy.response_rates(1.0)
  np.testing.assert_allclose(rates.false_positive, 0.268941, atol=1e-6)
  assert rates.false_positive == rates.false_negative
  youden = 1 - rates.false_positive - rates.false_negative
  np.testing.assert_allclose(youden, 0.462117, atol=1e-6)
  np.testing.assert_allclose(youden, math.tanh(0.5), rtol=1e-6)
  coin = privacy.response_rates(0.0)
  np.testing.assert_allclose(coin.false_positive, 0.5)


def smooth_probability(signals, at, epsilon):
  """P(x = 1 | s) through the channel's own rates."""
  signals = jnp.asarray(signals)
  rates = privacy.smooth_response_rates(
      jnp.abs(signals - at), epsilon=epsilon
  )
  return jnp.where(
      signals > at, 1 - rates.false_negative, rates.false_positive
  )


@variants.op_by_op()
def test_smooth_response_by_hand():
  actual = smooth_probability([-1.0, 0.0, 0.8, 2.0], 0.3, 1.0)
  np.testing.assert_allclose(
      actual, [0.1363, 0.3704, 0.6967, 0.9087], atol=5e-5
  )


def test_smooth_response_is_a_threshold_under_laplace_noise():
  signals = np.linspace(-3, 3, 13)
  for epsilon in (0.5, 1.0, 3.0):
    expected = stats.laplace.sf(0.3 - signals, scale=1 / epsilon)
    actual = smooth_probability(signals, 0.3, epsilon)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_draws_have_the_stated_laws():
  signals = jnp.tile(jnp.array([-1.0, 0.0, 0.8, 2.0]), (40_000, 1))
  drawn = privacy.smooth_randomized_response(
      KEY, signals, jnp.full((1, 1), 0.3), epsilon=1.0
  )
  expected = [0.1363, 0.3704, 0.6967, 0.9087]
  np.testing.assert_allclose(np.mean(drawn, 0), expected, atol=0.01)
  drawn = privacy.randomized_response(KEY, signals > 0.3, epsilon=1.0)
  expected = [0.2689, 0.2689, 0.7311, 0.7311]
  np.testing.assert_allclose(np.mean(drawn, 0), expected, atol=0.01)


def test_privacy_loss_is_at_most_epsilon_per_unit():
  grid = jnp.linspace(-4, 4, 161)
  for epsilon in (0.3, 1.0, 2.0):
    p = np.asarray(smooth_probability(grid, 0.3, epsilon), np.float64)
    gap = np.abs(grid[:, None] - grid[None])
    for q in (p, 1 - p):
      loss = np.abs(np.log(q[:, None]) - np.log(q[None]))
      assert np.all(loss <= epsilon * gap + 1e-3)
    # And it is reached: by two signals on one side of the threshold.
    loss = np.abs(np.log(p[0]) - np.log(p[40]))
    np.testing.assert_allclose(loss, epsilon * gap[0, 40], rtol=1e-3)


@pytest.mark.parametrize("response", ["none", "constant", "smooth"])
@pytest.mark.parametrize("std", [1.0, 0.7])
def test_action_probability_is_the_integral_over_signals(response, std):
  epsilon, mean = 0.9, 1.0

  def keep(s, t):
    """P(x = 1 | s)."""
    act = float(s > t)
    flip = {
        "none": 0.0,
        "constant": 1 / (1 + math.exp(epsilon)),
        "smooth": 0.5 * math.exp(-epsilon * abs(s - t)),
    }[response]
    return act * (1 - flip) + (1 - act) * flip

  for t in (-6.0, -1.0, 0.0, 2.5, 7.0):
    weight = lambda s, t=t: keep(s, t) * stats.norm.pdf(s, mean, std)
    expected = sum(
        integrate.quad(weight, a, b, epsabs=1e-14)[0]
        for a, b in ((mean - 20, t), (t, mean + 20))
    )
    with jax.enable_x64(True):
      actual = privacy.action_log_probability(
          jnp.asarray(t, float),
          mean=mean, std=std, epsilon=epsilon, response=response,
      )
    np.testing.assert_allclose(np.exp(actual), expected, rtol=1e-6)


@pytest.mark.parametrize("response", ["none", "constant", "smooth"])
def test_far_thresholds_keep_values_and_gradients_finite(response):
  at = jnp.array([-60.0, -10.0, 10.0, 60.0])
  law = dict(mean=1.0, epsilon=0.5, response=response)
  total = lambda t: jnp.sum(privacy.action_log_probability(t, **law))
  value = privacy.action_log_probability(at, **law)
  assert np.all(np.isfinite(value)) and np.all(value <= 1e-6)
  slope = jax.grad(total)(at)
  assert np.all(np.isfinite(slope)) and np.all(slope <= 1e-6)


def test_belief_is_a_martingale_under_the_mixture():
  """Bayes: the ratio of likelihoods has mean 1 under state 0."""
  belief = jnp.array([-3.0, 0.0, 0.4, 5.0])
  for response in ("none", "constant", "smooth"):
    law = dict(epsilon=0.7, response=response)
    at = privacy.threshold(belief)
    one = jnp.exp(privacy.action_log_probability(at, mean=-1.0, **law))
    up = privacy.update_belief(belief, jnp.ones(4), **law)
    down = privacy.update_belief(belief, jnp.zeros(4), **law)
    mean = one * jnp.exp(up - belief) + (1 - one) * jnp.exp(down - belief)
    np.testing.assert_allclose(mean, 1.0, rtol=1e-4)
    assert np.all(up > belief) and np.all(down < belief)
    # The two states are mirror images.
    mirror = -privacy.update_belief(-belief, jnp.zeros(4), **law)
    np.testing.assert_allclose(mirror, up, rtol=1e-5)


def all_right(sizes, **law):
  """The belief after n agents that all publish the right action."""
  update = lambda _, b: privacy.update_belief(b, jnp.ones(()), **law)
  with jax.enable_x64(True):
    belief, done, found = jnp.zeros(()), 0, []
    run = jax.jit(
        lambda belief, n: jax.lax.fori_loop(0, n, update, belief)
    )
    for n in sizes:
      belief, done = run(belief, n - done), n
      found.append(float(belief))
  return found


SIZES = (100, 1000, 10_000, 100_000)


def test_without_privacy_belief_grows_like_the_root_of_log_n():
  belief = all_right(SIZES, response="none")
  np.testing.assert_allclose(belief, [6.795, 8.451, 9.762, 10.877], atol=1e-3)
  constants = np.square(belief) / np.log(SIZES)
  assert np.ptp(constants) < 0.35


@pytest.mark.parametrize(
    "epsilon, expected",
    [(0.5, [11.45, 20.09, 29.21, 38.40]), (0.9, [9.54, 14.56, 19.65, 24.77])],
)
def test_smooth_noise_makes_belief_grow_like_log_n(epsilon, expected):
  belief = all_right(SIZES, epsilon=epsilon)
  np.testing.assert_allclose(belief, expected, atol=0.006)
  slope = (belief[-1] - belief[-2]) / math.log(10)
  np.testing.assert_allclose(slope, 2 / epsilon, rtol=0.05)


def herds(key, accuracy, epsilon, num_runs=10_000, num_agents=300):
  """Binary signals; +1 for each run whose herd is right, -1 wrong, 0 none."""
  signal = math.log(accuracy / (1 - accuracy))
  rate = 1 / (1 + math.exp(epsilon))
  right = accuracy * (1 - rate) + (1 - accuracy) * rate
  step = math.log(right / (1 - right))

  def agent(belief, key):
    draw_key, noise_key = jax.random.split(key)
    # The state is 1.
    said = jax.random.uniform(draw_key, belief.shape) < accuracy
    x = privacy.randomized_response(noise_key, said, epsilon=epsilon)
    free = jnp.abs(belief) <= signal * (1 + 1e-5)
    moved = jnp.where(x > 0.5, step, -step)
    return belief + jnp.where(free, moved, 0.0), None

  keys = jax.random.split(key, num_agents)
  last, _ = jax.lax.scan(agent, jnp.zeros(num_runs), keys)
  return jnp.sign(last) * (jnp.abs(last) > signal)


def test_constant_noise_lowers_the_chance_of_a_right_herd():
  clean = privacy.correct_cascade_probability(0.7)
  np.testing.assert_allclose(clean, 0.49 / (0.49 + 0.09), rtol=1e-12)
  for epsilon in (1.0, 3.0):
    exact = privacy.correct_cascade_probability(0.7, epsilon=epsilon)
    assert exact < clean - 0.02
    ends = herds(KEY, 0.7, epsilon)
    assert np.mean(ends != 0) > 0.99
    np.testing.assert_allclose(np.mean(ends > 0), exact, atol=0.015)


def test_signals_make_it_an_instance_dependent_channel():
  """J(s) = 1 - e^(-epsilon |s - t|), and flips go both ways alike."""
  distances = jnp.array([0.0, 0.5, 2.0])
  rates = privacy.smooth_response_rates(distances, epsilon=1.5)
  assert isinstance(rates, NoiseRates)
  youden = 1 - rates.false_positive - rates.false_negative
  np.testing.assert_allclose(youden, 1 - np.exp(-1.5 * distances), atol=1e-6)
  shape = channels.spread_rates("test", rates, jnp.ones(3))
  assert shape.false_positive.shape == (3,)


def test_errors_name_the_argument(no_jaxtyping):
  with pytest.raises(ValueError, match="epsilon must be in"):
    privacy.response_rates(-1.0)
  with pytest.raises(ValueError, match="response must be one of none, const"):
    privacy.action_log_probability(jnp.zeros(()), mean=1.0, response="laplace")
  with pytest.raises(ValueError, match="std must be in"):
    privacy.threshold(jnp.zeros(()), std=0.0)
  with pytest.raises(ValueError, match="accuracy must be in"):
    privacy.correct_cascade_probability(0.5)
