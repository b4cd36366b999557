import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.environments import bandits
from rewardjax.types import NoiseRates
from tests import variants

LOGITS = jnp.log(jnp.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]]))
REWARDS = jnp.array([[1.0, 0.0, 2.0], [0.0, 4.0, 0.0]])


@variants.every
def test_expected_reward_by_hand(variant):
  actual = variant(bandits.expected_reward)(LOGITS, REWARDS)
  np.testing.assert_allclose(actual, [0.1 + 1.4, 1.0], rtol=1e-6)


@variants.every
def test_value_gradient_by_hand(variant):
  actual = variant(bandits.value_gradient)(LOGITS, REWARDS)
  # p_a (r_a - 1.5) and p_a (r_a - 1).
  expected = [[-0.05, -0.3, 0.35], [-0.5, 0.75, -0.25]]
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_value_gradient_is_the_derivative():
  value = lambda logits: jnp.sum(bandits.expected_reward(logits, REWARDS))
  np.testing.assert_allclose(
      bandits.value_gradient(LOGITS, REWARDS),
      jax.grad(value)(LOGITS),
      rtol=1e-5,
      atol=1e-7,
  )


@variants.every
def test_draw_arms_by_hand(variant):
  uniforms = jnp.array([[0.0, 0.09, 0.11, 0.999], [0.49, 0.51, 0.74, 0.76]])
  actual = variant(bandits.draw_arms)(uniforms, LOGITS)
  np.testing.assert_array_equal(actual, [[0, 0, 1, 2], [0, 1, 1, 2]])


def test_draw_arms_has_the_law_of_the_policy():
  # Midpoints of 1000 cells: each arm is met in proportion to its mass.
  uniforms = jnp.broadcast_to((jnp.arange(1000) + 0.5) / 1000, (2, 1000))
  arms = bandits.draw_arms(uniforms, LOGITS)
  shares = jnp.mean(jax.nn.one_hot(arms, 3), axis=1)
  np.testing.assert_allclose(shares, jnp.exp(LOGITS), atol=1e-3)


def test_at_arms_reads_each_prompts_own_table():
  arms = jnp.array([[2, 2, 0], [1, 0, 1]])
  actual = bandits.at_arms(REWARDS, arms)
  np.testing.assert_array_equal(actual, [[2, 2, 1], [4, 0, 4]])


def test_nth_outcome_lists_every_outcome_once():
  actual = bandits.nth_outcome(jnp.arange(27), num_outcomes=3, num_draws=3)
  expected = set(itertools.product(range(3), repeat=3))
  assert {tuple(row) for row in np.asarray(actual).tolist()} == expected


def test_one_right_arm_pays_one_arm_of_each_prompt():
  world = bandits.one_right_arm(
      jax.random.key(0), NoiseRates(0.1, 0.2), num_prompts=5, num_arms=3
  )
  np.testing.assert_array_equal(jnp.sum(world.rewards, -1), jnp.ones(5))
  assert set(np.unique(world.rewards)) == {0.0, 1.0}
  # Uniform start: the exact accuracy is 1 / 3.
  accuracy = bandits.expected_reward(world.logits, world.rewards)
  np.testing.assert_allclose(accuracy, 1 / 3, rtol=1e-6)


def observed_mean(world):
  """The mean verdict on each arm, times what it pays."""
  false_positive, false_negative = world.rates
  accepted = jnp.where(world.correct > 0, 1 - false_negative, false_positive)
  return world.payment * accepted


def test_two_verifiers_fool_the_uncorrected_policy():
  """The observed mean reward prefers the action that pays less."""
  world = bandits.two_verifiers(NoiseRates(0.4, 0.4), num_prompts=4, worth=0.6)
  np.testing.assert_allclose(jnp.mean(world.rewards, 0), [0.3, 0.5])
  # Arm 0: (.6 + .4) / 2; arm 1: (0 + .6) / 2.
  np.testing.assert_allclose(jnp.mean(observed_mean(world), 0), [0.5, 0.3])


def test_hackable_verifier_prefers_the_wrong_arm():
  world = bandits.hackable(NoiseRates(0.05, 0.3), num_arms=4, exploit=0.9)
  np.testing.assert_array_equal(world.rewards, [[1, 0, 0, 0]])
  np.testing.assert_allclose(observed_mean(world), [[0.7, 0.9, 0.05, 0.05]])


def test_expected_reward_computes_bfloat16_in_float32():
  logits = jnp.linspace(-2, 2, 9, dtype=jnp.bfloat16)
  p = np.exp(np.asarray(logits, np.float64))
  expected = np.sum(p / p.sum() * np.arange(9.0))
  actual = bandits.expected_reward(logits, jnp.arange(9.0))
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_errors_name_the_argument():
  rates = NoiseRates(0.1, 0.2)
  with pytest.raises(ValueError, match="one_right_arm: num_prompts must be"):
    bandits.one_right_arm(
        jax.random.key(0), rates, num_prompts=0, num_arms=3
    )
  with pytest.raises(ValueError, match="num_prompts must be even, got 3"):
    bandits.two_verifiers(rates, num_prompts=3, worth=0.6)
  with pytest.raises(ValueError, match="hackable: num_arms must be"):
    bandits.hackable(rates, num_arms=1, exploit=0.9)
