import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.reward_models import outcome
from tests import variants

outcome = variants.programs(outcome)

NAN = jnp.nan
REWARDS = jnp.array([[2.0, 1.0, -3.0, -1.0], [-1.0, NAN, 3.0, NAN]])
MASK = jnp.array([[True] * 4, [True, False, True, False]])


@variants.every
def test_token_weights_by_hand(variant):
  actual = variant(outcome.token_weights)(REWARDS, MASK)
  # Running means 2, 1.5, 0, -0.25; and -1, 1 with an observation between.
  half = np.tanh(0.5)
  positive = [[0.761594, 0.635149, 0, 0], [0, 0, half, 0]]
  negative = [[0, 0, 0, 0.124353], [half, 0, 0, 0]]
  np.testing.assert_allclose(actual.positive, positive, atol=1e-6)
  np.testing.assert_allclose(actual.negative, negative, atol=1e-6)


def test_token_weights_are_the_clipped_sigmoids():
  random = np.random.default_rng(0)
  rewards = random.normal(size=(5, 9)) * 3
  belief = 1 / (1 + np.exp(-np.cumsum(rewards, -1) / np.arange(1, 10)))
  actual = outcome.token_weights(jnp.array(rewards))
  positive = np.clip((belief - 0.5) / 0.5, 0, 1)
  negative = np.clip((0.5 - belief) / 0.5, 0, 1)
  np.testing.assert_allclose(actual.positive, positive, atol=1e-6)
  np.testing.assert_allclose(actual.negative, negative, atol=1e-6)


@variants.every
def test_outcome_loss_by_hand(variant):
  correct = jnp.array([True, False])
  actual = variant(outcome.outcome_loss)(REWARDS, correct, MASK)
  # Mean logits -0.25, right; and 1, wrong.
  expected = [0.825939, np.log1p(np.exp(1.0))]
  np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_outcome_loss_gradient_and_large_logits():
  correct = jnp.array([True, False])
  total = lambda x: jnp.sum(outcome.outcome_loss(x, correct, MASK))
  sigmoid = lambda x: 1 / (1 + np.exp(-x))
  expected = np.array([[(sigmoid(-0.25) - 1) / 4], [sigmoid(1.0) / 2]])
  slope = variants.grad(total)(REWARDS)
  np.testing.assert_allclose(slope, expected * np.asarray(MASK), rtol=1e-5)
  far = jnp.array([[800.0], [800.0]])
  actual = outcome.outcome_loss(far, correct, jnp.ones((2, 1), bool))
  np.testing.assert_allclose(actual, [0.0, 800.0])


def test_edges():
  nothing = jnp.zeros_like(MASK)
  correct = jnp.array([True, False])
  loss = lambda x: jnp.sum(outcome.outcome_loss(x, correct, nothing))
  value, slope = variants.value_and_grad(loss)(REWARDS)
  assert value == 0
  np.testing.assert_array_equal(slope, 0)
  np.testing.assert_array_equal(outcome.token_weights(REWARDS, nothing), 0)
  narrow = outcome.token_weights(jnp.ones((1, 2), jnp.bfloat16))
  assert narrow.positive.dtype == jnp.float32
  weight = lambda x: jnp.sum(outcome.token_weights(x, MASK).positive)
  slope = variants.grad(weight)(REWARDS)
  assert jnp.all(jnp.isfinite(slope)) and slope[1, 1] == slope[1, 3] == 0


def test_errors(no_jaxtyping):
  with pytest.raises(ValueError, match=r"token_weights: .*'mask': \(3,\)"):
    outcome.token_weights(jnp.ones(2), jnp.ones(3, bool))
  with pytest.raises(ValueError, match=r"'correct': \(3,\), 'samples': \(2,\)"):
    outcome.outcome_loss(REWARDS, jnp.ones(3, bool), MASK)
