import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import placement
from tests import variants

placement = variants.programs(placement)

NAN = jnp.nan
# Row 0: steps 0, 0, 2, 2, no step, padding; step 1 has no token.
# Row 1: a token of no step inside a step, observations, an id out of range.
IDS = jnp.array([[0, 0, 2, 2, -1, 0], [1, -1, 1, 0, 0, 7]])
MASK = jnp.array(
    [
        [True, True, True, True, True, False],
        [True, True, True, False, False, True],
    ]
)
STEP_REWARDS = jnp.array([[2.0, NAN, 6.0], [NAN, 4.0, NAN]])


@variants.every
def test_place_last_by_hand(variant):
  """Pain 12: TRL #3750, #1893 (score on the pad after the stop token)."""
  mask = jnp.array([[True, True, False], [False, True, False]])
  mask = jnp.concatenate([mask, jnp.zeros((2, 3), bool)])[:4]
  rewards = jnp.array([5.0, 3.0, NAN, 7.0])
  actual = variant(placement.place_last)(rewards, mask)
  np.testing.assert_array_equal(
      actual, [[0, 5, 0], [0, 3, 0], [0, 0, 0], [0, 0, 0]]
  )


@variants.every
@pytest.mark.parametrize(
    "function,expected",
    [
        (placement.every, [[2, 2, 6, 6, 0, 0], [4, 0, 4, 0, 0, 0]]),
        (placement.step_end, [[0, 2, 0, 6, 0, 0], [0, 0, 4, 0, 0, 0]]),
        (placement.spread, [[1, 1, 3, 3, 0, 0], [2, 0, 2, 0, 0, 0]]),
    ],
)
def test_step_rewards_by_hand(variant, function, expected):
  actual = variant(function)(STEP_REWARDS, IDS, MASK)
  np.testing.assert_array_equal(actual, expected)


@variants.every
def test_what_stands_at_the_ends_of_steps_is_read_back(variant):
  values = jnp.array([[1.0, 2, 3, 4, 5, NAN], [6.0, 7, 8, NAN, NAN, 9]])
  call = lambda *rows: placement.read_ends(*rows, num_steps=3)
  actual = variant(call)(values, IDS, MASK)
  np.testing.assert_array_equal(actual, [[2, 0, 4], [0, 8, 0]])


def test_read_ends_is_the_gradient_of_step_end():
  weights = jnp.arange(12.0).reshape(2, 6)
  placed = lambda r: jnp.sum(weights * placement.step_end(r, IDS, MASK))
  slope = variants.grad(placed)(jnp.zeros((2, 3)))
  found = placement.read_ends(weights, IDS, MASK, num_steps=3)
  np.testing.assert_array_equal(found, slope)


STEPS = [placement.every, placement.step_end, placement.spread]


@pytest.mark.parametrize("function", STEPS)
def test_steps_of_unknown_reward_are_left_out(function):
  rewards = jnp.array([[NAN, 1.0, 6.0], [NAN, 4.0, 0.0]])
  known = jnp.array([[False, True, True], [True, True, True]])
  total = lambda r: jnp.sum(function(r, IDS, MASK, known))
  actual = function(rewards, IDS, MASK, known)
  np.testing.assert_array_equal(actual[0, :2], 0.0)
  slope = variants.grad(total)(rewards)
  assert np.all(np.isfinite(slope)) and slope[0, 0] == 0.0
  tokens = 2.0 if function is placement.every else 1.0
  np.testing.assert_array_equal(slope, [[0, 0, tokens], [0, tokens, 0]])


@pytest.mark.parametrize("function", [placement.step_end, placement.spread])
def test_the_sum_over_time_is_the_sum_over_steps(function):
  random = np.random.default_rng(0)
  ids = jnp.array(np.sort(random.integers(0, 4, (3, 2, 12)), -1))
  mask = jnp.array(random.random((3, 2, 12)) < 0.8)
  rewards = jnp.array(random.normal(size=(3, 2, 4)))
  present = jnp.any(jax.nn.one_hot(ids, 4, dtype=bool) & mask[..., None], -2)
  expected = jnp.sum(jnp.where(present, rewards, 0.0), -1)
  actual = jnp.sum(function(rewards, ids, mask), -1)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_one_step_is_the_whole_sequence():
  mask = MASK[:1]
  reward = jnp.array([[3.0]])
  ids = jnp.zeros((1, 6), int)
  np.testing.assert_array_equal(
      placement.step_end(reward, ids, mask),
      placement.place_last(reward[:, 0], mask),
  )


def test_gradient_of_place_last():
  mask = jnp.array([[True, True], [False, False]])
  slope = variants.grad(lambda r: jnp.sum(placement.place_last(r, mask)))(
      jnp.array([1.0, NAN])
  )
  np.testing.assert_array_equal(slope, [1.0, 0.0])


@pytest.mark.parametrize("function", [*STEPS, placement.place_last])
def test_widens_bfloat16(function):
  if function is placement.place_last:
    actual = function(jnp.ones(2, jnp.bfloat16), MASK)
  else:
    actual = function(jnp.ones((2, 3), jnp.bfloat16), IDS, MASK)
  assert actual.dtype == jnp.float32


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="place_last: mask must be"):
    placement.place_last(jnp.ones(3), MASK)
  with pytest.raises(ValueError, match="step_rewards must be"):
    placement.every(jnp.ones((3, 2)), IDS, MASK)
  with pytest.raises(ValueError, match="'step_ids': \\(2, 6\\), 'mask'"):
    placement.spread(STEP_REWARDS, IDS, MASK[:, :5])


SEGMENT_SCORES = jnp.array([[[0.9, 0.2, 0.5, NAN], [0.1, 0.8, 0.6, NAN]]])
SEGMENT_ENDS = jnp.array([[2, 5, 7, 0]])
SEGMENT_MASK = jnp.array([[True, True, True, False]])
SEGMENT_WEIGHTS = jnp.array([0.5, 1.0])


@variants.every
def test_segments_of_several_kinds_by_hand(variant):
  rows = lambda x: jnp.concatenate([x, x])
  place = variant(placement.segment_to_token_rewards)
  actual = place(
      rows(SEGMENT_SCORES),
      rows(SEGMENT_ENDS),
      rows(SEGMENT_MASK),
      weights=SEGMENT_WEIGHTS,
      num_tokens=8,
  )
  expected = [[0, 0, 0.55, 0, 0, 0.9, 0, 0.85]] * 2
  np.testing.assert_allclose(actual, expected, rtol=1e-6)
  np.testing.assert_allclose(np.sum(actual, -1), 2.3, rtol=1e-6)


def test_segments_that_end_together_add_up_and_the_rest_is_lost():
  scores = jnp.array([[1.0, 2.0, 4.0, 8.0]])
  ends = jnp.array([1, 1, 3, -1])
  actual = placement.segment_to_token_rewards(
      scores, ends, weights=jnp.ones(1), num_tokens=3
  )
  np.testing.assert_array_equal(actual, [0, 3, 0])


def test_segment_gradients_reach_scores_and_weights():
  token = jnp.arange(8.0)
  total = lambda scores, weights: jnp.sum(
      token[None]
      * placement.segment_to_token_rewards(
          scores, SEGMENT_ENDS, SEGMENT_MASK, weights=weights, num_tokens=8
      )
  )
  to_scores, to_weights = variants.grad(total, (0, 1))(
      SEGMENT_SCORES, SEGMENT_WEIGHTS
  )
  np.testing.assert_allclose(to_scores[0, 0], [1, 2.5, 3.5, 0])
  np.testing.assert_allclose(to_scores[0, 1], [2, 5, 7, 0])
  expected = [0.9 * 2 + 0.2 * 5 + 0.5 * 7, 0.1 * 2 + 0.8 * 5 + 0.6 * 7]
  np.testing.assert_allclose(to_weights, expected, rtol=1e-6)


def test_segment_arguments_are_named(no_jaxtyping):
  place = placement.segment_to_token_rewards
  with pytest.raises(ValueError, match=r"'ends': \(1, 3\)"):
    place(
        SEGMENT_SCORES,
        SEGMENT_ENDS[:, :3],
        weights=SEGMENT_WEIGHTS,
        num_tokens=8,
    )
  with pytest.raises(ValueError, match=r"weights must be \[K\]"):
    place(SEGMENT_SCORES, SEGMENT_ENDS, weights=jnp.ones(3), num_tokens=8)
