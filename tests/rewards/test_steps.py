from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.rewards import steps
from tests import variants

NAN = jnp.nan
CHAINS = jnp.array([[0.9, 0.5, 0.8, NAN], [0.2, NAN, NAN, NAN]])
MASK = jnp.array([[True, True, True, False], [True, False, False, False]])
BY_HAND = {  # of (.9, .5, .8), then of (.2)
    "min": (0.5, 0.2),
    "max": (0.9, 0.2),
    "last": (0.8, 0.2),
    "mean": (0.733333, 0.2),
    "prod": (0.36, 0.2),
    "geomean": (0.711379, 0.2),
    "mean_logit": (0.767546, 0.2),
    "mean_odds": (4.666667, 0.25),
}


@variants.every
def test_by_hand(variant):
  def every_rule(chains, mask):
    return [
        steps.aggregate_steps(chains, mask, how=how) for how in BY_HAND
    ]

  scores = variant(every_rule)(CHAINS, MASK)
  np.testing.assert_allclose(scores, list(BY_HAND.values()), rtol=1e-5)


def test_every_rule_is_in_the_table():
  assert set(BY_HAND) == set(get_args(steps.Aggregation))


@jax.jit
def every_rule(values, mask=None):
  return {how: steps.aggregate_steps(values, mask, how=how) for how in BY_HAND}


@pytest.mark.parametrize("how", BY_HAND)
def test_no_step_is_a_half_and_certain_ones_are_finite(how):
  """Padding has no gradient; eagerly, so that a NaN shows."""
  p = jnp.array([[NAN] * 4, [1.0, 0.0, 1.0, NAN]])
  mask = np.array([[False] * 4, [True] * 3 + [False]])

  def total(p):
    scores = steps.aggregate_steps(p, jnp.asarray(mask), how=how)
    return jnp.sum(scores), scores

  (_, scores), slope = jax.value_and_grad(total, has_aux=True)(p)
  half = every_rule(jnp.array([0.5]))[how]
  np.testing.assert_allclose(scores[0], half, rtol=1e-6)
  assert np.isfinite(scores[1]) and np.all(np.isfinite(slope))
  np.testing.assert_array_equal(np.asarray(slope)[~mask], 0)


def test_gradients_against_differences():
  p, h = np.array([0.7, 0.45, 0.8]), 1e-6
  with jax.enable_x64(True):
    slopes = jax.jit(jax.jacrev(every_rule))(p)
    shifts = h * np.concatenate([np.eye(3), -np.eye(3)])
    ends = jax.device_get(every_rule(p + shifts))
  for how, found in ends.items():
    expected = (found[:3] - found[3:]) / (2 * h)
    np.testing.assert_allclose(slopes[how], expected, atol=1e-6)


def test_a_product_charges_for_length_and_a_minimum_does_not():
  """P(all of S steps judged right) = .95^S."""
  mask = np.arange(20) < np.array([[5], [10], [20]])
  found = every_rule(jnp.full(mask.shape, 0.95), jnp.asarray(mask))
  np.testing.assert_allclose(found["prod"], [0.7738, 0.5987, 0.3585], 2e-4)
  np.testing.assert_allclose(found["min"], 0.95)


def test_order_matters_only_to_the_last():
  p = np.array([[0.3, 0.9, 0.6], [0.6, 0.9, 0.3]], np.float32)
  for how, (a, b) in jax.device_get(every_rule(jnp.asarray(p))).items():
    if how != "last":
      np.testing.assert_allclose(a, b, rtol=1e-6)


def test_float64_reference_of_long_chains():
  random = np.random.default_rng(0)
  p = random.uniform(0.01, 0.99, (3, 200))
  logits = np.log(p) - np.log1p(-p)
  expected = 1 / (1 + np.exp(-logits.mean(-1)))
  actual = every_rule(jnp.array(p))
  np.testing.assert_allclose(actual["mean_logit"], expected, rtol=1e-5)
  geometric = np.exp(np.log(p).mean(-1))
  np.testing.assert_allclose(actual["geomean"], geometric, rtol=1e-5)


# Classes (right, hallucinated, not applicable).
WORTH = jnp.array([1.0, -1.0, 0.0])


def test_segment_values_by_hand():
  logits = jnp.log(jnp.array([[0.7, 0.1, 0.2], [0.0, 0.0, 1.0]]))
  actual = steps.segment_values(logits, WORTH)
  np.testing.assert_allclose(actual, [0.6, 0.0], atol=1e-6)


def test_artefact_reward_is_a_sigmoid():
  """Classes (artefact, none) worth (0, 1): shifts of both change nothing."""
  logits = jnp.array([[3.0, 3.0], [1.0, 3.0], [3.0, 1.0], [11.0, 13.0]])
  same, up, down, shifted = np.asarray(
      steps.segment_values(logits, jnp.array([0.0, 1.0]))
  )
  assert same == 0.5
  np.testing.assert_allclose(up, 1 / (1 + np.exp(-2)), rtol=1e-6)
  np.testing.assert_allclose(up + down, 1, rtol=1e-6)
  np.testing.assert_allclose(shifted, up, rtol=1e-5)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="how must be one of min, max, last"):
    steps.aggregate_steps(CHAINS, how="median")
  with pytest.raises(ValueError, match=r"'mask': \(1, 4\)"):
    steps.aggregate_steps(CHAINS, jnp.ones((1, 4), bool), how="min")
  with pytest.raises(ValueError, match=r"'values': \(2,\), 'classes': \(3,\)"):
    steps.segment_values(jnp.ones((4, 3)), jnp.ones(2))
