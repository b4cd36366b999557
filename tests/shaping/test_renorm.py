import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.shaping import renorm
from tests import variants

renorm = variants.programs(renorm)

NAN = jnp.nan
SCORES = jnp.array([[0.8, 0.2, 0.6, NAN], [0.8, 0.2, 0.6, NAN]])
OUTCOME = jnp.array([1.0, 0.0])
MASK = jnp.array([[True, True, True, False]] * 2)


@variants.every
def test_anchored_by_hand(variant):
  actual = variant(renorm.anchored_steps)(SCORES, OUTCOME, MASK)
  expected = [[0.8, 0.2, 0.6, 0], [-0.2, -0.8, -0.4, 0]]
  np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_anchored_steps_have_the_sign_of_the_outcome():
  scores = jnp.array(np.random.default_rng(0).random((2, 9)))
  right, wrong = renorm.anchored_steps(scores, OUTCOME)
  assert np.all(right >= 0) and np.all(wrong <= 0)


@variants.every
def test_centered_by_hand(variant):
  actual = variant(renorm.centered_steps)(SCORES, OUTCOME, MASK)
  expected = [
      [0.266667, -0.333333, 1.066667, 0],
      [0.266667, -0.333333, 0.066667, 0],
  ]
  np.testing.assert_allclose(actual, expected, atol=1e-6)
  np.testing.assert_allclose(jnp.sum(actual, -1), OUTCOME, atol=1e-6)


def test_one_step_has_the_outcome_alone():
  actual = renorm.centered_steps(jnp.array([[0.3], [0.9]]), OUTCOME)
  np.testing.assert_allclose(actual, OUTCOME[:, None], atol=1e-7)


def test_standardized_against_numpy():
  scores = np.array([[[0.8, 0.2, 0.6], [0.1, 0.9, 5.0]]])
  mask = np.array([[[True, True, True], [True, True, False]]])
  outcome = np.array([[1.0, 0.0]])
  with jax.enable_x64(True):
    actual = renorm.standardized_steps(
        jnp.array(np.where(mask, scores, np.nan)),
        jnp.array(outcome),
        jnp.array(mask),
        epsilon=0.0,
    )
  kept = scores[mask]
  process = (scores - kept.mean()) / kept.std(ddof=1)
  whole = (outcome - 0.5) / outcome.std(ddof=1)
  expected = np.where(mask, process, 0.0)
  expected[0, 0, 2] += whole[0, 0]
  expected[0, 1, 1] += whole[0, 1]
  np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "function", [renorm.anchored_steps, renorm.centered_steps]
)
def test_masked_entries_carry_no_gradient(function):
  total = lambda s: jnp.sum(function(s, OUTCOME, MASK)[:, 0])
  slope = variants.grad(total)(SCORES)
  assert np.all(np.isfinite(slope))
  np.testing.assert_array_equal(slope[:, 3], 0.0)


def test_nothing_valid_is_zero():
  none = jnp.zeros_like(MASK)
  for function in (renorm.anchored_steps, renorm.centered_steps):
    np.testing.assert_array_equal(function(SCORES, OUTCOME, none), 0.0)
  actual = renorm.standardized_steps(SCORES[None], OUTCOME[None], none[None])
  np.testing.assert_array_equal(actual, 0.0)


def test_equal_scores_and_outcomes_are_zero():
  ones = jnp.ones((1, 2, 3))
  actual = renorm.standardized_steps(ones, ones[..., 0])
  np.testing.assert_array_equal(actual, 0.0)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="anchored_steps: expected one common"):
    renorm.anchored_steps(SCORES, OUTCOME, MASK[:, :2])
  with pytest.raises(ValueError, match="'outcome': \\(3,\\)"):
    renorm.centered_steps(SCORES, jnp.ones(3))
