import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import tilting
from tests import variants

REFERENCE = jnp.log(jnp.array([[0.1, 0.4, 0.3, 0.2]] * 2))
REWARDS = jnp.array([[1.0, 0.0, 0.0, 1.0]] * 2)


@variants.every
def test_exponential_tilt_by_hand(variant):
  actual = variant(tilting.exponential_tilt)(
      REFERENCE, REWARDS, temperature=0.5
  )
  # Weights .1 e^2, .4, .3, .2 e^2, divided by their sum 0.7 + 0.3 e^2.
  total = 0.7 + 0.3 * np.exp(2)
  weights = np.array([0.1 * np.exp(2), 0.4, 0.3, 0.2 * np.exp(2)])
  np.testing.assert_allclose(
      np.exp(actual), np.stack([weights / total] * 2), rtol=1e-6
  )


def test_exponential_tilt_is_the_stationary_point_of_what_it_maximises():
  def value(logits):
    log_q = jax.nn.log_softmax(logits)
    penalty = log_q - REFERENCE[0]
    return jnp.sum(jnp.exp(log_q) * (REWARDS[0] - 0.5 * penalty))

  at = tilting.exponential_tilt(REFERENCE[0], REWARDS[0], temperature=0.5)
  np.testing.assert_allclose(jax.grad(value)(at), 0.0, atol=1e-6)


def test_exponential_tilt_keeps_impossible_entries_impossible():
  logits = jnp.array([0.0, -jnp.inf])
  actual = tilting.exponential_tilt(logits, jnp.ones(2), temperature=1.0)
  np.testing.assert_array_equal(actual, [0.0, -np.inf])


def test_exponential_tilt_computes_bfloat16_in_float32():
  logits = jnp.linspace(-3, 3, 7, dtype=jnp.bfloat16)
  actual = tilting.exponential_tilt(logits, logits, temperature=0.3)
  x = np.asarray(logits, np.float64) * (1 + 1 / 0.3)
  expected = x - np.log(np.sum(np.exp(x)))
  assert actual.dtype == jnp.float32
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_exponential_tilt_errors(no_jaxtyping):
  with pytest.raises(ValueError, match="temperature must be in"):
    tilting.exponential_tilt(jnp.ones(2), jnp.ones(2), temperature=0.0)
  with pytest.raises(ValueError, match="one common shape"):
    tilting.exponential_tilt(jnp.ones(2), jnp.ones(3), temperature=1.0)
