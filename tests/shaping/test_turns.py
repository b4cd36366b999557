import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.shaping import turns
from tests import variants

GAINED = jnp.array([[0.0, 1, 0, 1], [0, 1, 0, 0]])
SUCCESS = jnp.array([True, False])
MOST = jnp.array([4.0, 4.0])


@variants.every
def test_dense_reward_by_hand(variant):
  found = variant(turns.dense_turn_reward)(GAINED, SUCCESS, MOST)
  np.testing.assert_allclose(found, [[0, 0.5, 0, 0.5], [0, 0.25, 0, 0]])


def test_failure_always_sums_to_less_than_success():
  gained = jnp.ones((2, 4))
  for most in (0.0, 1.0, 4.0):
    found = turns.dense_turn_reward(gained, SUCCESS, jnp.full(2, most))
    total = jnp.sum(found, axis=-1)
    np.testing.assert_allclose(total[0], 1.0)
    assert total[1] < 1


def test_turns_that_were_not_played_count_for_nothing():
  mask = jnp.array([[True, True, True, False]] * 2)
  gained = jnp.where(mask, GAINED, jnp.nan)
  found = turns.dense_turn_reward(gained, SUCCESS, MOST, mask)
  np.testing.assert_allclose(found, [[0, 1, 0, 0], [0, 0.25, 0, 0]])
  nothing = turns.dense_turn_reward(gained * 0, SUCCESS, MOST, mask)
  np.testing.assert_array_equal(nothing, 0.0)


@variants.every
def test_sparse_reward_by_hand(variant):
  mask = jnp.array([[True, True, False], [True, True, True]])
  found = variant(turns.sparse_turn_reward)(SUCCESS, mask)
  np.testing.assert_array_equal(found, [[0, 1, 0], [0, 0, 0]])


def test_errors_name_the_argument(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'most': \(3,\)"):
    turns.dense_turn_reward(GAINED, SUCCESS, jnp.ones(3))
