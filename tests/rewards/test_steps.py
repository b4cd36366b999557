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
@pytest.mark.parametrize("how", BY_HAND)
def test_by_hand(how, variant):
  score = variant(steps.aggregate_steps)(CHAINS, MASK, how=how)
  np.testing.assert_allclose(score, BY_HAND[how], rtol=1e-5)


def test_every_rule_is_in_the_table():
  assert set(BY_HAND) == set(get_args(steps.Aggregation))


@pytest.mark.parametrize("how", BY_HAND)
def test_a_chain_without_steps_is_one_step_of_a_half(how):
  none = jnp.zeros((2, 4), bool)
  empty = steps.aggregate_steps(CHAINS, none, how=how)
  half = steps.aggregate_steps(jnp.array([0.5]), how=how)
  np.testing.assert_allclose(empty, [half, half], rtol=1e-6)
  slope = jax.grad(
      lambda p: jnp.sum(steps.aggregate_steps(p, none, how=how))
  )(CHAINS)
  np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("how", BY_HAND)
def test_certain_steps_stay_finite_and_padding_has_no_gradient(how):
  p = jnp.array([1.0, 0.0, 1.0, NAN])
  mask = jnp.array([True, True, True, False])
  value, slope = jax.value_and_grad(
      lambda p: steps.aggregate_steps(p, mask, how=how)
  )(p)
  assert np.isfinite(value) and np.all(np.isfinite(slope)) and slope[3] == 0


@pytest.mark.parametrize("how", BY_HAND)
def test_gradients_against_differences(how):
  with jax.enable_x64(True):
    p = jnp.array([0.7, 0.45, 0.8])
    score = lambda p: steps.aggregate_steps(p, how=how)
    h = 1e-6
    expected = [
        (score(p.at[i].add(h)) - score(p.at[i].add(-h))) / (2 * h)
        for i in range(3)
    ]
    np.testing.assert_allclose(jax.grad(score)(p), expected, atol=1e-6)


def test_a_product_charges_for_length_and_a_minimum_does_not():
  """P(all of S steps judged right) = .95^S."""
  expected = {5: 0.7738, 10: 0.5987, 20: 0.3585}
  for length, score in expected.items():
    p = jnp.full(length, 0.95)
    product = steps.aggregate_steps(p, how="prod")
    np.testing.assert_allclose(product, score, atol=5e-5)
    np.testing.assert_allclose(steps.aggregate_steps(p, how="min"), 0.95)


def test_order_matters_only_to_the_last():
  p = jnp.array([0.3, 0.9, 0.6])
  for how in set(BY_HAND) - {"last"}:
    a, b = (steps.aggregate_steps(x, how=how) for x in (p, p[::-1]))
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_float64_reference_of_long_chains():
  random = np.random.default_rng(0)
  p = random.uniform(0.01, 0.99, (3, 200))
  logits = np.log(p) - np.log1p(-p)
  expected = 1 / (1 + np.exp(-logits.mean(-1)))
  actual = steps.aggregate_steps(jnp.array(p), how="mean_logit")
  np.testing.assert_allclose(actual, expected, rtol=1e-5)
  actual = steps.aggregate_steps(jnp.array(p), how="geomean")
  np.testing.assert_allclose(actual, np.exp(np.log(p).mean(-1)), rtol=1e-5)


# Classes (right, hallucinated, not applicable).
WORTH = jnp.array([1.0, -1.0, 0.0])


def test_segment_values_by_hand():
  logits = jnp.log(jnp.array([[0.7, 0.1, 0.2], [0.0, 0.0, 1.0]]))
  actual = steps.segment_values(logits, WORTH)
  np.testing.assert_allclose(actual, [0.6, 0.0], atol=1e-6)


def test_artefact_reward_is_a_sigmoid():
  """Classes (artefact, none) worth (0, 1): shifts of both change nothing."""
  worth = jnp.array([0.0, 1.0])
  reward = lambda yes, no: steps.segment_values(jnp.array([yes, no]), worth)
  assert reward(3.0, 3.0) == 0.5
  np.testing.assert_allclose(reward(1.0, 3.0), 1 / (1 + np.exp(-2)), rtol=1e-6)
  np.testing.assert_allclose(reward(1.0, 3.0) + reward(3.0, 1.0), 1, rtol=1e-6)
  np.testing.assert_allclose(reward(11.0, 13.0), reward(1.0, 3.0), rtol=1e-5)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="how must be one of min, max, last"):
    steps.aggregate_steps(CHAINS, how="median")
  with pytest.raises(ValueError, match=r"'mask': \(1, 4\)"):
    steps.aggregate_steps(CHAINS, jnp.ones((1, 4), bool), how="min")
  with pytest.raises(ValueError, match=r"'values': \(2,\), 'classes': \(3,\)"):
    steps.segment_values(jnp.ones((4, 3)), jnp.ones(2))
