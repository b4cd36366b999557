import functools

import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import group, process
from tests import variants

group = variants.programs(group)
process = variants.programs(process)

NAN = jnp.nan


def test_standardised_steps_of_the_table():
  """The table's numbers have the biased std (ddof 0)."""
  estimator = functools.partial(group.standardized, ddof=0)
  steps = jnp.array([[[0.1, -0.05], [0.2, 0.0]]])
  actual = process.two_level(jnp.zeros((1, 2)), steps, estimator=estimator)
  expected = [[[0.390563, -1.171688], [1.432063, -0.650938]]]
  np.testing.assert_allclose(actual.steps, expected, atol=2e-5)


OUTCOMES = jnp.array([[1.0, 0.0, NAN], [0.0, 1.0, 1.0]])
MASK = jnp.array([[True, True, False], [True, True, True]])
STEPS = jnp.array(
    [[[1.0, 4.0], [3.0, NAN], [9.0, 9.0]], [[0.0, 0.0]] * 3], float
)
STEP_MASK = jnp.array(
    [[[True, True], [True, False], [True, True]], [[True, True]] * 3]
)


@variants.every
def test_two_levels_by_hand(variant):
  call = functools.partial(process.two_level, weight=0.5)
  outcome, steps = variant(call)(OUTCOMES, STEPS, MASK, STEP_MASK)
  np.testing.assert_allclose(
      outcome, [[1, -1, 0], [-1, 0.5, 0.5]], rtol=1e-6
  )
  # Three steps 1, 4, 3 count: each less the mean of the other two.
  expected = 0.5 * np.array([[1 - 3.5, 4 - 2], [3 - 2.5, 0], [0, 0]])
  np.testing.assert_allclose(steps[0], expected, rtol=1e-6)
  np.testing.assert_array_equal(steps[1], 0.0)


def test_all_steps_count_not_one_a_sample():
  """A sample with many steps has many entries in the statistics."""
  steps = jnp.array([[[1.0, 1.0, 1.0], [0.0, NAN, NAN]]])
  step_mask = ~jnp.isnan(steps)
  _, actual = process.two_level(
      jnp.zeros((1, 2)), steps, None, step_mask, estimator=group.centered
  )
  np.testing.assert_allclose(actual[0, 1, 0], -0.75)


def test_two_level_gradient_leaves_masked_entries_alone():
  def total(outcomes, steps):
    both = process.two_level(outcomes, steps, MASK, STEP_MASK)
    return jnp.sum(both.outcome[:, 0]) + jnp.sum(both.steps[:, 0, 0])

  outcomes, steps = variants.grad(total, (0, 1))(OUTCOMES, STEPS)
  assert np.all(np.isfinite(outcomes)) and np.all(np.isfinite(steps))
  np.testing.assert_array_equal(outcomes[~MASK], 0.0)
  np.testing.assert_array_equal(steps[0, 1:, 1], 0.0)
  np.testing.assert_allclose(steps[0, 0], [1.0, -0.5])


LABELS = jnp.array([[1, 1, 0, 0, 1], [0, 1, 1, 0, 0]], bool)
LABEL_MASK = jnp.array([[True] * 5, [True, False, True, True, False]])


@variants.every
def test_thoughts_of_the_table(variant):
  thoughts = variant(process.group_thoughts)(LABELS, LABEL_MASK)
  # Row 1: a hole inside, so the second thought begins after it.
  np.testing.assert_array_equal(
      thoughts.ids, [[0, 0, 1, 1, 2], [0, -1, 1, 2, -1]]
  )
  np.testing.assert_array_equal(
      thoughts.labels, [[1, 0, 1, 0, 0], [0, 1, 0, 0, 0]]
  )
  np.testing.assert_array_equal(
      thoughts.mask, [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]
  )


def test_a_hole_does_not_end_a_thought():
  labels = jnp.array([[1, 0, 1]], bool)
  mask = jnp.array([[True, False, True]])
  thoughts = process.group_thoughts(labels, mask)
  np.testing.assert_array_equal(thoughts.ids, [[0, -1, 0]])
  none = process.group_thoughts(labels, jnp.zeros_like(mask))
  np.testing.assert_array_equal(none.ids, -1)
  assert not np.any(none.mask)


# Right and wrong thoughts of a right and a wrong answer; the last is the
# answer.
THOUGHTS = jnp.array([[[1, 0, 1], [1, 0, 0]]] * 2, bool)
THOUGHT_MASK = jnp.ones(THOUGHTS.shape, bool)
ANSWERS = jnp.array([[1.0, 0.0]] * 2)


@variants.every
@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_thought_rewards_by_hand(variant, p):
  rate = jnp.full(2, p)
  call = lambda *args: process.thought_rewards(*args[:3], success_rate=args[3])
  actual = variant(call)(THOUGHTS, ANSWERS, THOUGHT_MASK, rate)
  expected = [[1, -p, 0], [1 - p, -1, 0]]
  np.testing.assert_allclose(actual, [expected] * 2)


def test_the_success_rate_is_that_of_the_known_outcomes():
  outcomes = jnp.array([[1.0, NAN, 0.0, 0.0]])
  mask = jnp.array([[True, False, True, True]])
  labels = jnp.array([[[0, 1], [0, 1], [1, 1], [0, 0]]], bool)
  actual = process.thought_rewards(
      labels, outcomes, jnp.ones(labels.shape, bool), mask
  )
  np.testing.assert_allclose(
      actual[0, :, 0], [-1 / 3, 0, 2 / 3, -1], rtol=1e-6
  )


@variants.every
def test_the_last_thought_is_not_scored(variant):
  mask = jnp.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], bool)
  actual = variant(process.scored_thoughts)(mask)
  np.testing.assert_array_equal(
      actual, [[1, 0, 0], [0, 0, 0], [0, 0, 0], [1, 1, 0]]
  )


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="two_level: step_rewards must be"):
    process.two_level(jnp.ones((2, 3)), jnp.ones((2, 4, 5)))
  with pytest.raises(ValueError, match="group_thoughts: expected one common"):
    process.group_thoughts(LABELS, LABEL_MASK[:, :2])
  with pytest.raises(ValueError, match="thought_rewards: expected one common"):
    process.thought_rewards(THOUGHTS, ANSWERS, THOUGHT_MASK[..., :1])
