import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.noise import steps
from tests import variants

steps = variants.programs(steps)

NAN = jnp.nan
VALUES = jnp.array([
    [0.9, 0.75, 0.5, 0.25, 0.0, NAN],
    [0.5, 0.0, NAN, NAN, NAN, NAN],
    [0.0, NAN, NAN, NAN, NAN, NAN],
    [0.9, 0.5, 0.3, NAN, NAN, NAN],
])
LENGTHS = jnp.array([5, 2, 1, 3])
MASK = jnp.arange(6)[None] < LENGTHS[:, None]
ABLE = jnp.full(4, 0.8)


@variants.every
def test_by_hand(variant):
  targets, mask = variant(steps.denoise_step_labels)(VALUES, ABLE, MASK)
  expected = [
      [1, 1, 0.625, 0.3125, 0, 0],
      [0.625, 0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0, 0],  # no step is known to be wrong: dropped
  ]
  np.testing.assert_allclose(targets, expected, rtol=1e-6)
  np.testing.assert_array_equal(mask, MASK.at[3].set(False))


@variants.every
def test_right_answers_have_right_steps(variant):
  right = jnp.array([True, False, True, False])
  nothing = jnp.full(VALUES.shape, NAN).at[1].set(VALUES[1])
  denoise = variant(steps.denoise_step_labels)
  targets, mask = denoise(nothing.at[3].set(VALUES[3]), ABLE, MASK, right)
  np.testing.assert_array_equal(targets[0], [1, 1, 1, 1, 1, 0])
  np.testing.assert_array_equal(targets[2], [1, 0, 0, 0, 0, 0])
  np.testing.assert_array_equal(np.sum(mask, -1), [5, 2, 1, 0])


def test_values_after_the_first_zero_are_not_read():
  values = jnp.array([[0.8, 0.4, 0.0, 0.9, 0.0]])
  targets, mask = steps.denoise_step_labels(values, jnp.array([0.8]))
  np.testing.assert_array_equal(mask, [[1, 1, 1, 0, 0]])
  np.testing.assert_allclose(targets, [[1, 0.5, 0, 0, 0]])


@pytest.mark.parametrize("distance", [0, 1, 2, 9])
def test_distance_says_how_many_are_soft(distance):
  values = jnp.array([[0.4, 0.4, 0.4, 0.4, 0.0]])
  targets, _ = steps.denoise_step_labels(
      values, jnp.array([0.8]), distance=distance
  )
  expected = [[0.5 if 4 - i <= distance else 1.0 for i in range(4)] + [0.0]]
  np.testing.assert_allclose(targets, expected)


def test_targets_never_exceed_one_and_need_no_scale():
  values = jnp.array([[0.9, 0.0], [0.9, 0.0]])
  targets, _ = steps.denoise_step_labels(values, jnp.array([0.75, 0.0]))
  np.testing.assert_array_equal(targets, [[1, 0], [1, 0]])


def test_a_perfect_completer_gives_hard_labels():
  """Values 1 before the error and 0 from it on: nothing to soften."""
  values = (jnp.arange(6)[None] < jnp.arange(6)[:, None]).astype(float)
  targets, mask = steps.denoise_step_labels(values, jnp.ones(6))
  np.testing.assert_array_equal(targets, values * mask)
  np.testing.assert_array_equal(np.sum(mask, -1), [1, 2, 3, 4, 5, 6])


def test_balanced_by_hand():
  right = jnp.array([True, True, False, True, True, False])
  kept = steps.balanced(right)
  np.testing.assert_array_equal(kept, [1, 1, 1, 0, 0, 1])
  mask = jnp.array([False, True, True, True, True, False])
  np.testing.assert_array_equal(steps.balanced(right, mask), [0, 1, 1, 0, 0, 0])
  assert not np.any(steps.balanced(jnp.ones(4, bool)))


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"distance must be in \[0"):
    steps.denoise_step_labels(VALUES, ABLE, distance=-1)
  with pytest.raises(ValueError, match=r"'confidence': \(3,\)"):
    steps.denoise_step_labels(VALUES, jnp.ones(3))
  with pytest.raises(ValueError, match=r"balanced: .*'mask': \(3,\)"):
    steps.balanced(jnp.ones(2, bool), jnp.ones(3, bool))
