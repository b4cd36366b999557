"""Bias and variance of every correction, summed over all outcomes.

The world has four actions; the harness of `tests.noise.exact` sums in
float64.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import group
from rewardjax.core import tilting
from rewardjax.environments import bandits
from rewardjax.noise import channels, corrections
from rewardjax.types import NoiseRates
from tests.noise import exact

RATES = NoiseRates(0.1, 0.2)
J = 0.7
RAW = lambda observed, rates: observed
METHODS = {
    "raw": (RAW, J),
    "backward": (corrections.backward_reward, 1.0),
    "forward": (corrections.forward_weight, J),
    "mirror": (corrections.forward_weight_from_false_positive, J),
}


def _backward(observed):
  return corrections.backward_reward(observed, RATES)


def _forward(observed):
  return corrections.forward_weight(observed, RATES)


def _backward_leave_one_out(observed):
  return group.leave_one_out(_backward(observed))


def _backward_centered(observed):
  return group.centered(_backward(observed))


def _standardized(observed):
  return group.standardized(observed, epsilon=0.0)


def test_world_of_four_actions():
  world = exact.card_world()
  expected = [0.141231, -0.066121, -0.179736, 0.104626]
  np.testing.assert_allclose(world.gradient, expected, atol=5e-7)
  assert world.probabilities @ world.truth == pytest.approx(0.435633, abs=5e-7)
  assert world.acceptance == pytest.approx(0.404943, abs=5e-7)


def test_backward_values_of_the_card():
  actual = exact.in_float64(_backward, np.array([0.0, 1.0]))
  np.testing.assert_allclose(actual, [-0.142857, 1.285714], atol=5e-7)


@pytest.mark.parametrize("method", METHODS)
def test_expected_gradient_is_scale_times_the_exact_one(method):
  correction, scale = METHODS[method]
  world = exact.card_world()
  weights = exact.weight_table(world, correction)
  actual = exact.expected_gradient(world, weights)
  np.testing.assert_allclose(actual, scale * world.gradient, rtol=1e-10)


@pytest.mark.parametrize("truth", [0, 1])
@pytest.mark.parametrize("rates", [RATES, NoiseRates(0.35, 0.45)])
def test_conditional_means_and_variances(truth, rates):
  """E[R] = truth, E[w] = J (truth - 1), mirrored J truth."""
  rho0, rho1 = rates
  j = 1 - rho0 - rho1
  law = np.array([[1 - rho0, rho0], [rho1, 1 - rho1]])[truth]
  observed = np.array([0.0, 1.0])
  tables = [
      exact.in_float64(correction, observed, rates)
      for correction, _ in list(METHODS.values())[1:]
  ]
  means = [law @ table for table in tables]
  np.testing.assert_allclose(
      means, [truth, j * (truth - 1), j * truth], atol=1e-12
  )
  rho = rates[truth]
  variance = law @ tables[0] ** 2 - means[0] ** 2
  np.testing.assert_allclose(variance, rho * (1 - rho) / j**2, rtol=1e-9)


def test_forward_weight_is_j_times_backward_minus_j():
  observed = np.array([0.0, 1.0])
  forward = exact.in_float64(_forward, observed)
  backward = exact.in_float64(_backward, observed)
  np.testing.assert_allclose(forward, J * backward - J, rtol=1e-12)


@pytest.mark.parametrize(
    "method,variance",
    [("raw", 0.603126), ("backward", 0.483472), ("forward", 0.457026)],
)
def test_variance_after_rescaling(method, variance):
  correction, scale = METHODS[method]
  world = exact.card_world()
  weights = exact.weight_table(world, correction)
  actual = exact.gradient_variance(world, weights) / scale**2
  assert actual == pytest.approx(variance, abs=1e-6)


def test_variance_with_baselines():
  """All corrections share one family r - b; the best b is not theirs."""
  world = exact.card_world()
  observed = np.broadcast_to([0.0, 1.0], world.joint.shape)
  norms = np.sum(world.scores**2, -1)
  best = (world.joint[:, 1] @ norms) / (world.probabilities @ norms)
  assert best == pytest.approx(0.463041, abs=1e-6)
  for baseline, variance in ((world.acceptance, 0.297455), (best, 0.292566)):
    actual = exact.gradient_variance(world, observed - baseline) / J**2
    assert actual == pytest.approx(variance, abs=1e-6)
  clean = world._replace(rates=NoiseRates(0.0, 0.0))
  actual = exact.gradient_variance(clean, observed)
  assert actual == pytest.approx(0.300525, abs=1e-6)


@pytest.mark.parametrize(
    "believed,ratio",
    [((0.0, 0.2), 0.875), ((0.3, 0.1), 1.166667), ((0.05, 0.4), 1.272727)],
)
def test_wrong_rates_only_rescale(believed, ratio):
  """Backward: J / J_hat. Forward: J, whatever it was told."""
  world, believed = exact.card_world(), NoiseRates(*believed)
  for correction, scale in (
      (corrections.backward_reward, ratio),
      (corrections.forward_weight, J),
  ):
    weights = exact.weight_table(world, correction, believed)
    actual = exact.expected_gradient(world, weights)
    np.testing.assert_allclose(actual, scale * world.gradient, rtol=1e-6)


def test_rates_believed_reversed_turn_the_gradient_round():
  world = exact.card_world()
  believed = NoiseRates(0.6, 0.7)  # J_hat = -.3
  weights = exact.weight_table(world, corrections.backward_reward, believed)
  actual = exact.expected_gradient(world, weights)
  np.testing.assert_allclose(actual, -J / 0.3 * world.gradient, rtol=1e-9)


@pytest.mark.parametrize(
    "rates,variance,factor",
    [
        ((0.1, 0.2), 0.4808, 2.0),
        ((0.2, 0.3), 0.96, 4.0),
        ((0.3, 0.3), 1.5525, 6.5),
        ((0.4, 0.4), 6.24, 26),
        ((0.45, 0.45), 24.99, 104),
        ((0.49, 0.49), 625, 2604),
    ],
)
def test_variance_table_at_success_rate_4_tenths(rates, variance, factor):
  believed = NoiseRates(*map(jnp.asarray, rates))
  actual = float(jax.jit(corrections.backward_variance)(0.4, believed))
  assert actual == pytest.approx(variance, rel=1e-4)
  assert actual / 0.24 == pytest.approx(factor, rel=6e-3)


def test_signal_to_noise_of_backward_and_forward_falls_alike():
  """Neither creates information: SNR^2 ~ J^2 as J -> 0, for both.

  At J = 1/50 and 1/100 the squared ratio of mean to noise falls by 4.
  """

  # The guard of the backward correction only rescales: it has no part here.
  def snr2(correction, rho):
    world = exact.card_world(rho, rho)
    weights = exact.weight_table(world, correction)
    mean = exact.expected_gradient(world, weights)
    return (mean @ mean) / exact.gradient_variance(world, weights)

  for correction in (corrections.backward_reward, corrections.forward_weight):
    ratio = snr2(correction, 0.49) / snr2(correction, 0.495)
    assert ratio == pytest.approx(4, rel=0.05)


def test_hackable_verifier_needs_rates_per_sample():
  """J < 0 on one action: the raw direction is wrong, ours is exact."""
  false_positive = np.array([0.1, 0.9, 0.1, 0.1])
  world = exact.card_world(false_positive, np.full(4, 0.2))
  raw = exact.expected_gradient(world, exact.weight_table(world, RAW))
  expected = [0.068475, 0.05671, -0.175913, 0.050728]
  np.testing.assert_allclose(raw, expected, atol=1e-6)
  norms = np.linalg.norm(raw) * np.linalg.norm(world.gradient)
  assert raw @ world.gradient / norms == pytest.approx(0.8099, abs=5e-5)
  weights = exact.weight_table(world, corrections.backward_reward)
  actual = exact.expected_gradient(world, weights)
  np.testing.assert_allclose(actual, world.gradient, rtol=1e-10)


def test_reversed_verifier():
  """J = -.3: raw and forward anti-learn, backward keeps the sign of J."""
  world = exact.card_world(0.7, 0.6)
  for correction, scale in (
      (RAW, -0.3),
      (corrections.forward_weight, -0.3),
      (corrections.backward_reward, 1.0),
  ):
    weights = exact.weight_table(world, correction)
    actual = exact.expected_gradient(world, weights)
    np.testing.assert_allclose(actual, scale * world.gradient, rtol=1e-9)


def test_verifier_that_says_nothing():
  world = exact.card_world(0.3, 0.7)
  for correction in (RAW, corrections.backward_reward):
    weights = exact.weight_table(world, correction)
    actual = exact.expected_gradient(world, weights)
    np.testing.assert_allclose(actual, 0, atol=1e-14)


@pytest.mark.parametrize(
    "advantage,scale",
    [
        (_backward_leave_one_out, 1.0),
        (_backward_centered, 7 / 8),
        (_forward, J),
        (group.leave_one_out, J),
        (_standardized, 1.2305),
    ],
    ids=["backward loo", "backward mean", "forward", "raw loo", "raw grpo"],
)
def test_group_estimators_of_8(advantage, scale):
  world = exact.card_world()
  mean, _ = exact.group_moments(world, advantage, 8)
  np.testing.assert_allclose(mean, scale * world.gradient, rtol=5e-5)


def test_group_variances_of_8():
  """After rescaling, every centred version has the variance of every other."""
  world = exact.card_world()
  centred = (
      (_backward_leave_one_out, 1.0),
      (group.leave_one_out, J),
      (lambda o: group.leave_one_out(_forward(o)), J),
      (_backward_centered, 7 / 8),
  )
  for advantage, scale in centred:
    _, variance = exact.group_moments(world, advantage, 8)
    assert variance / scale**2 == pytest.approx(0.0446, abs=5e-5)
  _, variance = exact.group_moments(world, _forward, 8)
  assert variance / J**2 == pytest.approx(0.0571, abs=5e-5)


@jax.jit
def _gain(rate):
  return group.standardization_gain(rate, 8)


def test_grpo_on_raw_verdicts_is_youden_times_the_gain():
  world = exact.card_world()
  gain = _gain(jnp.asarray(world.acceptance))
  assert J * float(gain) == pytest.approx(1.2305, abs=5e-5)


def test_signed_advantages_times_weights_anti_learn():
  """w(0) A(0) is minus times minus: rejected samples would be rewarded."""
  world = exact.card_world()

  def advantage(o):
    return _forward(o) * _standardized(o)

  mean, _ = exact.group_moments(world, advantage, 8)
  np.testing.assert_allclose(mean, -0.252 * world.gradient, rtol=1e-3)
  rejected = exact.in_float64(advantage, np.array([1.0, 0.0, 0.0, 0.0]))[1:]
  assert np.all(rejected > 0)


@pytest.mark.parametrize("epsilon,bound", [(1e-6, 7e-7), (1e-4, 7e-5)])
def test_no_op_up_to_epsilon(epsilon, bound):
  observed = np.array([1.0, 0, 0, 1, 0, 0, 0, 1])
  grpo = lambda correct: exact.in_float64(
      lambda o: group.standardized(correct(o), epsilon=epsilon), observed
  )
  raw = grpo(lambda o: o)
  assert 0.99 * bound < np.max(np.abs(grpo(_backward) - raw)) <= bound
  np.testing.assert_allclose(grpo(_forward), raw, rtol=1e-12)


def test_leave_one_out_of_the_cards_row():
  observed = jnp.array([1.0, 0, 0, 1, 0, 0, 0, 1])
  raw = group.leave_one_out(observed)
  np.testing.assert_allclose(raw[:2], [0.714286, -0.428571], atol=1e-6)
  np.testing.assert_allclose(
      group.leave_one_out(_backward(observed)), 1.428571 * raw, rtol=1e-5
  )


@pytest.mark.parametrize(
    "p,noisy,clean,limit",
    [
        (0.01, 1.5121, 2.4404, 0.225),
        (0.5, 1.2193, 1.7358, 0.704),
        (0.99, 1.3714, 2.4404, 0.172),
    ],
)
def test_noisy_std_distorts_the_weight_of_difficulty(p, noisy, clean, limit):
  """Easy and hard prompts lose weight: J f(q) against f(p), N = 8."""
  q = 0.1 + J * p
  gain = lambda rate: float(_gain(jnp.asarray(rate)))
  assert J * gain(q) == pytest.approx(noisy, abs=1e-4)
  assert gain(p) == pytest.approx(clean, abs=1e-4)
  large = J * np.sqrt(p * (1 - p) / (q * (1 - q)))
  assert large == pytest.approx(limit, abs=5e-4)


def _grpo(observed):
  return group.standardized(observed, epsilon=0.0, ddof=0)


def _restored(observed):
  return group.bernoulli_standardized(_backward(observed))


def _projection(advantage, p, rates, n):
  """E[A (truth - p)]: what the advantages know of the truth."""
  rho0, rho1 = rates
  j = 1 - rho0 - rho1
  rows = exact._rows([[0], [1]], n)
  low, high = exact.in_float64(advantage, rows)[..., 0] @ exact.binomial(
      n - 1, rho0 + j * p
  )
  return p * (1 - p) * j * (high - low)


@pytest.mark.parametrize(
    "p,clean,raw,denoised",
    [(0.3, 0.4539, 0.3149, 0.4599), (0.9, 0.2929, 0.1405, 0.3807)],
)
def test_bernoulli_standardized_restores_the_weight(p, clean, raw, denoised):
  """N = 64, ddof 0; near p = 1 the clip of p overshoots."""
  actual = [
      _projection(_grpo, p, (0.0, 0.0), 64),
      _projection(_grpo, p, RATES, 64),
      _projection(_restored, p, RATES, 64),
  ]
  np.testing.assert_allclose(actual, [clean, raw, denoised], atol=6e-5)


def test_bernoulli_standardized_of_the_cards_row():
  observed = np.array([1.0, 0, 0, 1, 0, 0, 0, 1])
  actual = exact.in_float64(_restored, observed)
  np.testing.assert_allclose(actual[:2], [1.828181, -1.096909], atol=5e-7)


def test_kl_regularised_optimum():
  """Noise multiplies beta by 1 / J; backward undoes it, forward does not."""
  logits = jnp.log(jnp.array([0.1, 0.4, 0.3, 0.2]))
  truth = jnp.array([1.0, 0.0, 0.0, 1.0])
  one = jnp.where(truth > 0, 0.8, 0.1)  # P(verdict 1)

  @functools.partial(jax.jit, static_argnums=0)
  def optimum(correct, beta=0.5):
    low, high = correct(jnp.array([0.0, 1.0]))
    rewards = one * high + (1 - one) * low
    return jnp.exp(tilting.exponential_tilt(logits, rewards, temperature=beta))

  clean = [0.253335, 0.137140, 0.102855, 0.506669]
  raw = [0.211587, 0.208707, 0.156530, 0.423175]
  np.testing.assert_allclose(optimum(lambda o: o), raw, atol=1e-6)
  np.testing.assert_allclose(optimum(_backward), clean, atol=1e-6)
  np.testing.assert_allclose(optimum(_forward), raw, atol=1e-6)
  np.testing.assert_allclose(optimum(_forward, J * 0.5), clean, atol=1e-6)


def test_backward_reward_by_a_million_draws():
  """Through the channel itself, five standard errors."""

  @jax.jit
  def draw(key):
    truth = jnp.broadcast_to(jnp.array([[0.0], [1.0]]), (2, 500_000))
    return _backward(channels.flip_binary(key, truth, RATES))

  rewards = np.asarray(draw(jax.random.key(5)), np.float64)
  deviation = np.sqrt(np.array([0.1 * 0.9, 0.2 * 0.8])) / J
  error = np.abs(np.mean(rewards, -1) - [0, 1])
  assert np.all(error < 5 * deviation / np.sqrt(500_000))


@pytest.mark.parametrize(
    "advantage,scale",
    [
        (_backward_leave_one_out, 1.0),
        (group.standardized, 1.2305),
    ],
    ids=["backward loo", "raw grpo"],
)
def test_group_estimators_by_draws_of_policy_and_channel(advantage, scale):
  """20,000 groups of 8, each coordinate within four standard errors."""
  world = exact.card_world()

  @jax.jit
  def draw(key):
    keys = jax.random.split(key)
    logits = jnp.log(jnp.asarray(world.probabilities, jnp.float32))
    uniforms = jax.random.uniform(keys[0], (20_000, 8))
    arms = bandits.draw_arms(uniforms, jnp.tile(logits, (20_000, 1)))
    truth = jnp.asarray(world.truth, jnp.float32)[arms]
    observed = channels.flip_binary(keys[1], truth, RATES)
    scores = jax.nn.one_hot(arms, 4) - jnp.exp(logits)[None, None]
    return advantage(observed), scores

  advantages, scores = jax.device_get(draw(jax.random.key(6)))
  gradients = np.mean(advantages[..., None] * scores, 1)
  error = np.std(gradients, 0) / np.sqrt(20_000)
  drift = np.abs(np.mean(gradients, 0) - scale * world.gradient)
  assert np.all(drift < 4 * error)
