import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.search import voting
from tests import variants

voting = variants.programs(voting)

# Plain, a tie, unparsable answers in the majority, nobody votes.
ANSWERS = jnp.array([[3, 3, 5, 3], [5, 2, 5, 2], [-1, -1, -1, 7], [-1] * 4])


@variants.every
def test_votes_by_hand(variant):
  answer, share = variant(voting.majority_vote)(ANSWERS)
  np.testing.assert_array_equal(answer, [3, 2, 7, -1])
  np.testing.assert_allclose(share, [0.75, 0.5, 1, 0])


def test_masked_samples_have_no_vote():
  mask = jnp.array([[False, False, True, False], [True, False, True, True]])
  answer, share = voting.majority_vote(ANSWERS[:2], mask)
  np.testing.assert_array_equal(answer, [5, 5])
  np.testing.assert_allclose(share, [1, 2 / 3], rtol=1e-6)
  none, share = voting.majority_vote(ANSWERS, jnp.zeros(ANSWERS.shape, bool))
  np.testing.assert_array_equal(none, -1)
  np.testing.assert_array_equal(share, 0.0)


def test_the_order_of_votes_does_not_matter():
  random = np.random.default_rng(0)
  answers = random.integers(-1, 3, (50, 7))
  shuffled = random.permuted(answers, axis=1)
  a, b = (voting.majority_vote(jnp.array(x)) for x in (answers, shuffled))
  np.testing.assert_array_equal(a.answer, b.answer)
  for row, winner in zip(answers, np.asarray(a.answer)):
    counts = np.bincount(row[row >= 0], minlength=3)
    assert winner == (np.argmax(counts) if counts.any() else -1)


def test_an_empty_group_has_no_answer():
  answer, share = voting.majority_vote(jnp.zeros((2, 0), int))
  np.testing.assert_array_equal(answer, -1)
  np.testing.assert_array_equal(share, 0.0)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="majority_vote: expected one common"):
    voting.majority_vote(ANSWERS, jnp.ones((4, 3), bool))


WEIGHTS = jnp.array([
    [0.1, 0.2, 0.9, 0.3], [1.0, 2.0, 1.0, jnp.nan], [1.0, 1.0, 1.0, 0.5],
    [1.0, 1.0, 1.0, 1.0],
])


@variants.every
def test_weighted_votes_by_hand(variant):
  answer, share = variant(voting.weighted_vote)(ANSWERS, WEIGHTS)
  np.testing.assert_array_equal(answer, [5, 2, 7, -1])
  np.testing.assert_allclose(share, [0.6, 0.5, 1, 0], rtol=1e-6)


def test_equal_weights_are_a_majority_and_bad_ones_count_nothing():
  random = np.random.default_rng(1)
  answers = jnp.array(random.integers(-1, 3, (50, 7)))
  plain = voting.majority_vote(answers)
  equal = voting.weighted_vote(answers, jnp.full(answers.shape, 0.25))
  np.testing.assert_array_equal(plain.answer, equal.answer)
  np.testing.assert_allclose(plain.share, equal.share, rtol=1e-6)
  # However many votes, and wherever they stand: rounding breaks no tie.
  answers = jnp.array(random.integers(0, 3, (2000, 16)))
  equal = voting.weighted_vote(answers, jnp.full(answers.shape, 0.3))
  plain = voting.majority_vote(answers)
  np.testing.assert_array_equal(plain.answer, equal.answer)
  weights = jnp.array([-5.0, jnp.nan, 0.1])
  answer, share = voting.weighted_vote(jnp.array([1, 1, 2]), weights)
  assert answer == 2 and share == 1
  nobody, share = voting.weighted_vote(jnp.array([4, 2, -1]), jnp.zeros(3))
  assert nobody == 2 and share == 0


def test_weighted_votes_name_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'weights': \(3,\)"):
    voting.weighted_vote(jnp.ones(4, int), jnp.ones(3))


def test_filtered_vote_by_hand():
  answers = jnp.array([[1, 1, 2], [1, 1, 2], [1, 1, -1]])
  traces = jnp.array([
      [[0.0, 0.5, 0.9], [0.9, 0.9, 0.1], [0.9, 0.9, 0.9]],  # 2 is left
      [[0.9, 0.1, 0.9], [0.9, 0.9, 0.1], [0.9, 0.0, 0.9]],  # nothing is
      [[0.9, 0.1, 0.9], [0.9, 0.9, 0.1], [0.9, 0.9, 0.9]],  # no vote is
  ])
  found = voting.filtered_vote(answers, traces, threshold=0.6, skip=1)
  np.testing.assert_array_equal(found.answer, [2, 1, 1])
  np.testing.assert_allclose(found.share, [1, 2 / 3, 1], rtol=1e-6)
  # Skipping two forgives the first sample; masked tokens are not looked at.
  found = voting.filtered_vote(answers, traces, threshold=0.6, skip=2)
  np.testing.assert_array_equal(found.answer, [1, 1, 1])
  mask = jnp.ones(traces.shape, bool).at[0, 1, 2].set(False)
  hidden = traces.at[0, 1, 2].set(jnp.nan)
  found = voting.filtered_vote(answers, hidden, mask, threshold=0.6, skip=2)
  np.testing.assert_allclose(found.share[0], 2 / 3, rtol=1e-6)
  seen = voting.filtered_vote(answers, hidden, threshold=0.6, skip=2)
  np.testing.assert_allclose(seen.share[0], 0.5, rtol=1e-6)


def test_filtered_votes_name_bad_arguments(no_jaxtyping):
  vote = voting.filtered_vote
  with pytest.raises(ValueError, match="skip must be in"):
    vote(jnp.ones(2, int), jnp.ones((2, 3)), threshold=0.5, skip=-1)
  with pytest.raises(ValueError, match=r"'answers': \(3,\)"):
    vote(jnp.ones(3, int), jnp.ones((2, 3)), threshold=0.5)
