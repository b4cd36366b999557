"""When a correction can change learning, and when it provably cannot.

E[verdict | truth] = rho0 + J truth is affine, and so are the corrections. A
normalisation that removes offset and scale removes them. What noise costs
then is signal-to-noise; the direction changes only where rates differ between
the things compared, or where something else than verdicts is compared too.
"""

import functools
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import group
from rewardjax.noise import corrections
from rewardjax.types import NoiseRates
from tests.noise import exact

RATES = [NoiseRates(0.1, 0.2), NoiseRates(0.4, 0.05), NoiseRates(0.3, 0.6)]
CORRECTIONS = {
    "backward": corrections.backward_reward,
    "forward": corrections.forward_weight,
    "mirror": corrections.forward_weight_from_false_positive,
}
UNCORRECTED = lambda o, rates: o
PATTERNS = np.array(list(itertools.product([0.0, 1.0], repeat=6)))


def _standardized(observed):
  return group.standardized(observed, epsilon=0.0)


@functools.cache  # one function, and so one program, for all rates
def _after(advantage, correct):
  return lambda o, rates: advantage(correct(o, rates))


@pytest.mark.parametrize("rates", RATES, ids=str)
@pytest.mark.parametrize("name", CORRECTIONS)
def test_theorem_group_mean_and_std_leave_nothing_of_a_correction(name, rates):
  """All 64 groups of 6 verdicts, in float64: advantages are the same."""
  corrected = exact.in_float64(
      _after(_standardized, CORRECTIONS[name]), PATTERNS, rates
  )
  raw = exact.in_float64(_standardized, PATTERNS)
  np.testing.assert_allclose(corrected, raw, atol=1e-12)


@pytest.mark.parametrize("rates", RATES, ids=str)
def test_theorem_leave_one_out_leaves_only_the_step_size(rates):
  """Backward is 1 / J times the raw advantage; forward is the raw one."""
  j = 1 - sum(rates)
  raw = exact.in_float64(group.leave_one_out, PATTERNS)
  for name, scale in (("backward", 1 / j), ("forward", 1.0), ("mirror", 1.0)):
    corrected = exact.in_float64(
        _after(group.leave_one_out, CORRECTIONS[name]), PATTERNS, rates
    )
    np.testing.assert_allclose(corrected, scale * raw, atol=1e-12)


@pytest.mark.parametrize("rates", RATES, ids=str)
def test_theorem_noise_alone_never_turns_the_gradient(rates):
  """Raw verdicts, no correction: J times the exact gradient, any J > 0."""
  world = exact.card_world(*rates)
  mean, _ = exact.group_moments(world, group.leave_one_out, 8)
  j = 1 - sum(rates)
  np.testing.assert_allclose(mean, j * world.gradient, rtol=1e-9)


def test_theorem_noise_costs_signal_to_noise():
  """|mean|^2 / variance of a group of 8 falls, and no correction lifts it."""

  def snr2(rates, correct=UNCORRECTED):
    world = exact.card_world(*rates)
    mean, variance = exact.group_moments(
        world, _after(group.leave_one_out, correct), 8, rates
    )
    return mean @ mean / variance

  clean = snr2(NoiseRates(0.0, 0.0))
  noisy = [snr2(NoiseRates(r, r)) for r in (0.1, 0.2, 0.3, 0.4)]
  assert all(a > b for a, b in itertools.pairwise([clean, *noisy]))
  for rates in RATES:
    for correct in CORRECTIONS.values():
      assert snr2(rates, correct) == pytest.approx(snr2(rates), rel=1e-9)


@pytest.mark.parametrize("success,alive", [(1.0, 0.832), (0.0, 0.570)])
def test_theorem_dead_groups_come_alive_by_noise_alone(success, alive):
  """Pain 23 (post-training-experiments #15): noise breaks ties.

  Eight samples that are all right, or all wrong, carry nothing; verdicts of
  rates (.1, .2) differ in most such groups, pass a filter on ties, have
  gradients larger than 0, and are worth 0 on average.
  """
  truth = np.full(4, success)
  world = exact.card_world()._replace(truth=truth)
  q = world.acceptance
  rows = exact._rows([[0], [1]], 8)
  informative = exact.in_float64(group.informative, rows)
  probability = np.sum(
      np.array([1 - q, q])[:, None] * informative * exact.binomial(7, q)
  )
  assert probability == pytest.approx(alive, abs=5e-4)
  assert probability == pytest.approx(1 - q**8 - (1 - q) ** 8, rel=1e-9)
  mean, variance = exact.group_moments(world, _standardized, 8)
  np.testing.assert_allclose(mean, 0, atol=1e-12)
  assert variance > 0.04
  clean = world._replace(rates=NoiseRates(0.0, 0.0))
  assert exact.group_moments(clean, _standardized, 8)[1] == 0


# --- and when a correction changes the direction ----------------------------


def _two_prompts():
  """One policy, two prompts that want different actions, unlike verifiers.

  Action 0 is right on the first prompt and action 1 on the second, whose
  verifier has J = .2; a third action is right on neither.
  """
  p = np.array([0.3, 0.3, 0.4])
  make = lambda right, rates: exact.World(p, np.eye(3)[right], rates)
  return make(0, NoiseRates(0.0, 0.0)), make(1, NoiseRates(0.4, 0.4))


def _cosine(a, b):
  return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


@pytest.mark.parametrize("name", ["raw", "backward", "forward"])
def test_direction_changes_when_rates_differ_between_prompts(name):
  """Only backward weighs the prompts alike; the others by J of each."""
  clean = sum(world.gradient for world in _two_prompts())

  def of(world):
    advantage = _after(group.leave_one_out, CORRECTIONS.get(name, UNCORRECTED))
    return exact.group_moments(world, advantage, 4, world.rates)[0]

  first, second = _two_prompts()
  actual = of(first) + of(second)
  if name == "backward":
    np.testing.assert_allclose(actual, clean, rtol=1e-9)
  else:
    expected = first.gradient + 0.2 * second.gradient
    np.testing.assert_allclose(actual, expected, rtol=1e-9)
    assert _cosine(actual, clean) < 0.9


def test_group_std_weighs_prompts_by_their_noise_whatever_the_correction():
  """Nothing inside the group helps: the std takes the correction out."""
  first, second = _two_prompts()
  for correct in (UNCORRECTED, corrections.backward_reward):
    advantage = _after(_standardized, correct)
    means = [
        exact.group_moments(world, advantage, 8, world.rates)[0]
        for world in (first, second)
    ]
    gains = [
        np.linalg.norm(mean) / np.linalg.norm(world.gradient)
        for mean, world in zip(means, (first, second))
    ]
    expected = [
        float(group.standardization_gain(0.3, 8)),
        0.2 * float(group.standardization_gain(second.acceptance, 8)),
    ]
    np.testing.assert_allclose(gains, expected, rtol=1e-5)
    assert gains[0] > 4 * gains[1]


def test_direction_changes_when_rates_differ_between_answers():
  """A verifier that falls for action 1 teaches action 1, even under a std."""
  false_positive = np.array([0.1, 0.9, 0.1, 0.1])
  world = exact.card_world(false_positive, np.full(4, 0.2))
  # Verdicts are all that raw advantages see: the harness still applies.
  mean, _ = exact.group_moments(world, _standardized, 8)
  assert mean[1] > 0 > world.gradient[1]
  weights = exact.weight_table(world, corrections.backward_reward)
  np.testing.assert_allclose(
      exact.expected_gradient(world, weights), world.gradient, rtol=1e-9
  )


def test_direction_changes_when_something_else_is_added_to_the_verdict():
  """reward = verdict - cost: noise shrinks the verdict, not the cost.

  A right answer that costs .6 is worth its cost, and loses to it when the
  verdict counts for J = .7. Even group mean and std keep that exchange rate.
  """
  world = exact.card_world()
  costs = np.array([0.6, 0.0, 0.0, 0.0])[:, None]
  target = world.gradient - world.probabilities * (
      costs[:, 0] - world.probabilities @ costs[:, 0]
  )
  raw = exact.weight_table(world, UNCORRECTED) - costs
  backward = exact.weight_table(world, corrections.backward_reward) - costs
  np.testing.assert_allclose(
      exact.expected_gradient(world, backward), target, rtol=1e-9
  )
  assert exact.expected_gradient(world, raw)[0] < 0 < target[0]
  observed = np.array([1.0, 0.0, 1.0, 0.0])
  costs = np.array([0.6, 0.0, 0.0, 0.3])
  standardized = lambda correct: exact.in_float64(
      lambda o, c: group.standardized(correct(o) - c, epsilon=0.0),
      observed,
      costs,
  )
  corrected = standardized(
      lambda o: corrections.backward_reward(o, NoiseRates(0.1, 0.2))
  )
  assert np.max(np.abs(corrected - standardized(lambda o: o))) > 0.05


def test_direction_changes_under_a_discount():
  """The offset rho0 pays for finishing early: two wrong answers, no reason
  to prefer the shorter, and raw verdicts do."""
  probabilities, truth = np.array([0.5, 0.5]), np.zeros(2)
  world = exact.World(probabilities, truth, NoiseRates(0.2, 0.1))
  discounts = np.array([0.9**1, 0.9**10])[:, None]
  raw = exact.weight_table(world, UNCORRECTED) * discounts
  backward = exact.weight_table(world, corrections.backward_reward) * discounts
  assert exact.expected_gradient(world, raw)[0] > 0.02
  np.testing.assert_allclose(
      exact.expected_gradient(world, backward), 0, atol=1e-12
  )


def test_clipping_corrected_rewards_to_the_unit_interval_is_a_bias():
  observed = np.array([0.0, 1.0])
  rates = NoiseRates(0.1, 0.2)
  clipped = exact.in_float64(
      lambda o: jnp.clip(corrections.backward_reward(o, rates), 0, 1), observed
  )
  assert np.array([0.2, 0.8]) @ clipped == pytest.approx(0.8)  # not 1
  assert np.array([0.9, 0.1]) @ clipped == pytest.approx(0.1)  # not 0
