import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import group
from rewardjax.shaping import ranks
from tests import variants

HITS = jnp.array([[False, True, False, False], [False] * 4])


def test_weights_by_hand():
  np.testing.assert_allclose(
      ranks.dcg_weights(4), [0.39038, 0.246302, 0.19519, 0.168128], atol=1e-6
  )
  np.testing.assert_allclose(jnp.sum(ranks.dcg_weights(16)), 1, rtol=1e-6)


@variants.every
def test_penalty_and_advantages_by_hand(variant):
  penalty = variant(ranks.dcg_penalty)(HITS)
  rewards = HITS.astype(float) + penalty
  expected = [[-0.39038, 1, -0.19519, -0.168128], [0] * 4]
  np.testing.assert_allclose(rewards, expected, atol=1e-6)
  advantages = group.standardized(rewards, epsilon=0.0)
  expected = [[-0.713536, 1.481561, -0.405375, -0.36265], [0] * 4]
  np.testing.assert_allclose(advantages, expected, atol=1e-5)


def test_ranks_travel_with_their_samples():
  order = jnp.array([2, 0, 3, 1])
  given = jnp.broadcast_to(order, HITS.shape)
  moved = ranks.dcg_penalty(HITS[:, order], ranks=given)
  np.testing.assert_array_equal(moved, ranks.dcg_penalty(HITS)[:, order])


def test_invalid_samples_neither_hit_nor_miss():
  mask = jnp.array([[True, True, False, True], [True] * 4])
  penalty = ranks.dcg_penalty(HITS, mask)
  np.testing.assert_allclose(
      penalty[0], [-0.39038, 0, 0, -0.168128], atol=1e-6
  )
  lost = ranks.dcg_penalty(HITS, ~HITS)  # the hit itself is unknown
  np.testing.assert_array_equal(lost, 0.0)


def test_errors_name_the_argument(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'mask': \(3,\)"):
    ranks.dcg_penalty(HITS, jnp.ones(3, bool))
  with pytest.raises(ValueError, match="num must be in"):
    ranks.dcg_weights(0)
