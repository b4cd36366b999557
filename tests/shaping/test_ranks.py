import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import group
from rewardjax.shaping import ranks
from tests import variants

group = variants.programs(group)
ranks = variants.programs(ranks)

NAN = jnp.nan
REWARDS = jnp.array([[1.0, 1.0, 0.0, 1.0], [1.0, 0.5, NAN, NAN]])
LIKELY = jnp.array([[-0.5, -2.0, -1.0, -0.1], [-0.3, -0.3, NAN, -9.0]])
MASK = jnp.array([[True] * 4, [True, True, False, False]])


@variants.every
def test_unlikeliness_by_hand(variant):
  actual = variant(ranks.unlikeliness)(REWARDS, LIKELY, MASK)
  # Ranks 2, 0, 1, 3 of 4; in row 1 two copies share the rank 1/2 of 2.
  factor = 1 - 0.25 / 4
  expected = [[0.875, 1.0, 0.0, 0.8125], [factor, 0.5 * factor, 0, 0]]
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_unlikeliness_before_standardising():
  shaped = ranks.unlikeliness(REWARDS[0], LIKELY[0])
  actual = group.standardized(shaped, epsilon=0.0)
  expected = [0.446773, 0.721711, -1.477788, 0.309305]
  np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_unlikeliness_pulls_groups_of_right_answers_towards_rare_ones():
  right = jnp.ones(4)
  shaped = ranks.unlikeliness(right, LIKELY[0], coefficient=0.5)
  advantages = group.standardized(shaped)
  assert jnp.argmax(advantages) == 1 and jnp.argmin(advantages) == 3
  plain = ranks.unlikeliness(right, LIKELY[0], coefficient=0.0)
  np.testing.assert_array_equal(plain, right)


def test_unlikeliness_is_unmoved_by_increasing_maps_of_the_likelihood():
  key = jax.random.key(0)
  likely = -jax.random.uniform(key, (3, 8))
  rewards = jnp.ones((3, 8))
  np.testing.assert_array_equal(
      ranks.unlikeliness(rewards, likely),
      ranks.unlikeliness(rewards, jnp.exp(5 * likely)),
  )


def test_unlikeliness_edges_and_gradient():
  nobody = jnp.zeros(4, bool)
  actual = ranks.unlikeliness(REWARDS[1], LIKELY[1], nobody)
  np.testing.assert_array_equal(actual, 0)
  alone = ranks.unlikeliness(jnp.array([0.7]), jnp.array([-3.0]))
  np.testing.assert_allclose(alone, [0.7])
  wide = ranks.unlikeliness(jnp.ones(2, jnp.bfloat16), jnp.array([-1.0, -2.0]))
  assert wide.dtype == jnp.float32
  total = lambda r, lp: jnp.sum(ranks.unlikeliness(r, lp, MASK))
  slopes = variants.grad(total, argnums=(0, 1))(REWARDS, LIKELY)
  np.testing.assert_allclose(slopes[0][0], [0.875, 1, 0.9375, 0.8125])
  np.testing.assert_array_equal(slopes[0][1, 2:], 0)
  np.testing.assert_array_equal(slopes[1], 0)


def test_unlikeliness_errors(no_jaxtyping):
  with pytest.raises(ValueError, match=r"coefficient must be in \[0, 1\]"):
    ranks.unlikeliness(jnp.ones(2), jnp.ones(2), coefficient=1.5)
  with pytest.raises(ValueError, match=r"'log_probs': \(3,\)"):
    ranks.unlikeliness(jnp.ones(2), jnp.ones(3))


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
