import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.rewards import variants as rewards
from tests import variants

ANSWERS = jnp.array([[7, 3, 3, 9, 3, 7], [5, 2, 8, 2, 8, 5]])
TRUTH = jnp.array([3, 5])
MASK = jnp.array([[True] * 6, [True, True, True, False, True, True]])


@variants.every
def test_wrong_majority_by_hand(variant):
  value, valid = variant(rewards.wrong_majority_reward)(ANSWERS, TRUTH, MASK)
  # Row 0: 7 twice, 9 once. Row 1: 8 twice, 2 once since one 2 is unknown.
  expected = [[1, 0, 0, 0, 0, 1], [0, 0, 1, 0, 1, 0]]
  np.testing.assert_array_equal(value, expected)
  np.testing.assert_array_equal(valid, MASK)


def test_wrong_majority_breaks_ties_by_id_and_not_by_order():
  answers, truth = jnp.array([[9, 4, 9, 4, 1]]), jnp.array([1])
  value = rewards.wrong_majority_reward(answers, truth).value
  np.testing.assert_array_equal(value, [[0, 1, 0, 1, 0]])
  order = jnp.array([1, 0, 4, 3, 2])
  moved = rewards.wrong_majority_reward(answers[:, order], truth).value
  np.testing.assert_array_equal(moved, value[:, order])


def test_nobody_is_wrong_and_nobody_is_valid():
  right = rewards.wrong_majority_reward(jnp.full((1, 3), 2), jnp.array([2]))
  np.testing.assert_array_equal(right.value, 0.0)
  none = rewards.wrong_majority_reward(
      ANSWERS, TRUTH, jnp.zeros(ANSWERS.shape, bool)
  )
  np.testing.assert_array_equal(none.value, 0.0)


@variants.every
def test_inverted_and_format_by_hand(variant):
  said = jnp.array([[True, False], [False, False]])
  mask = jnp.array([[True, False], [True, True]])
  value, valid = variant(rewards.inverted_reward)(said, mask)
  np.testing.assert_array_equal(value, [[0, 1], [1, 1]])
  np.testing.assert_array_equal(valid, mask)
  value, _ = variant(rewards.format_reward)(said, mask)
  np.testing.assert_array_equal(value, [[1, 0], [0, 0]])
  assert np.all(rewards.format_reward(said).valid)


def test_random_reward_has_its_chance_and_reads_nothing():
  mask = jnp.ones((100, 100), bool).at[0].set(False)
  key = jax.random.key(0)
  value, valid = rewards.random_reward(key, mask, chance=0.3)
  np.testing.assert_allclose(np.mean(value), 0.3, atol=0.02)
  np.testing.assert_array_equal(valid, mask)
  assert np.mean(rewards.random_reward(key, mask, chance=1).value) == 1
  assert np.mean(rewards.random_reward(key, mask, chance=0).value) == 0
  with pytest.raises(ValueError, match="chance must be in"):
    rewards.random_reward(key, mask, chance=1.5)


def test_errors_name_the_argument(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'truth': \(3,\)"):
    rewards.wrong_majority_reward(ANSWERS, jnp.zeros(3, int))
