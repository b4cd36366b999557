import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import scoring
from tests import variants

scoring = variants.programs(scoring)

NAN = jnp.nan
# One right answer above two; among two of three highest; below; tied, alone.
SCORES = jnp.array([
    [1.0, 0.9, 0.2, NAN],
    [2.0, 2.0, 1.0, 2.0],
    [0.5, 0.5, 0.1, 0.9],
    [0.3, NAN, NAN, NAN],
])
ONE = jnp.ones(4, int)
MASK = jnp.array([[1, 1, 1, 0], [1] * 4, [1] * 4, [1, 0, 0, 0]]).astype(bool)


@variants.every
def test_rows_by_hand(variant):
  best = variant(scoring.best_of_k_correct)(SCORES, ONE, MASK)
  np.testing.assert_allclose(best, [1, 1 / 3, 0, 1], rtol=1e-6)
  rank = variant(scoring.reciprocal_rank)(SCORES, ONE, MASK)
  np.testing.assert_allclose(rank, [1, 1 / 3, 1 / 3, 1], rtol=1e-6)
  strict = variant(scoring.separated)(SCORES, ONE, MASK)
  np.testing.assert_array_equal(strict, [1, 0, 0, 1])


def test_loose_and_half_separation():
  loose = scoring.separated(SCORES, ONE, MASK, ties="loose")
  np.testing.assert_array_equal(loose, [1, 1, 0, 1])
  half = scoring.separated(SCORES, ONE, MASK, ties="half")
  np.testing.assert_array_equal(half, [1, 0.5, 0, 1])


@variants.every
def test_margins_by_hand(variant):
  scores = jnp.array([[3.0, 2.5, 1.0, 0.0], [2.0, 1.0, 0.5, NAN]])
  mask = jnp.array([[True] * 4, [True] * 3 + [False]])
  spread, gap = variant(scoring.margins)(scores, jnp.array([2, 2]), mask)
  np.testing.assert_allclose(spread, [0.5, 1.0])
  np.testing.assert_allclose(gap, [1.5, 0.5])


def test_random_scores_by_enumeration():
  """Over all orders of ten scores: accuracy 1 / 10, MRR H_10 / 10."""
  rows = np.stack([np.roll(np.arange(10.0), i) for i in range(10)])
  one = np.ones(10, int)
  assert np.mean(scoring.separated(rows, one)) == pytest.approx(0.1)
  mrr = np.mean(scoring.reciprocal_rank(rows, one))
  assert mrr == pytest.approx(0.292897, abs=1e-6)
  pairs = jnp.array([[0.0, 1.0], [1.0, 0.0]])
  assert np.mean(scoring.separated(pairs, one[:2])) == 0.5


def test_equal_scores_are_worth_a_guess():
  best = scoring.best_of_k_correct(jnp.zeros((2, 4)), jnp.ones(2, int))
  np.testing.assert_allclose(best, 0.25)
  several = scoring.best_of_k_correct(jnp.zeros((1, 4)), jnp.array([3]))
  np.testing.assert_allclose(several, 0.75)


def test_against_loops_with_several_right_answers():
  random = np.random.default_rng(0)
  scores = random.integers(0, 4, (40, 5)).astype(float)
  right = random.integers(1, 5, 40)
  call = lambda f: np.asarray(f(jnp.array(scores), jnp.array(right)))
  for row, n, best, rank, apart in zip(
      scores,
      right,
      call(scoring.best_of_k_correct),
      call(scoring.reciprocal_rank),
      call(scoring.separated),
  ):
    highest = np.flatnonzero(row == row.max())
    assert best == pytest.approx(np.mean(highest < n))
    assert rank == pytest.approx(1 / (1 + np.sum(row[n:] >= row[:n].max())))
    assert apart == float(row[:n].min() > row[n:].max())


def test_unknown_scores_never_win():
  row = jnp.array([[NAN, 1.0]])
  one = jnp.ones(1, int)
  assert scoring.best_of_k_correct(row, one) == 0
  assert scoring.separated(row, one) == 0
  assert scoring.reciprocal_rank(row, one) == 0.5
  assert scoring.best_of_k_correct(row[:, ::-1], one) == 1
  assert scoring.separated(row[:, ::-1], one) == 1
  none = jnp.zeros((1, 2), bool)
  assert scoring.best_of_k_correct(row, one, none) == 0
  assert scoring.reciprocal_rank(row, one, none) == 0


def test_every_order_of_a_row_gives_one_result():
  row = [0.3, 0.9, 0.9, 0.1]
  for order in itertools.permutations(range(1, 4)):
    shuffled = jnp.array([[row[0], *(row[i] for i in order)]])
    assert scoring.reciprocal_rank(shuffled, jnp.ones(1, int)) == (
        pytest.approx(1 / 3)
    )


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="ties must be one of strict, half"):
    scoring.separated(SCORES, ONE, ties="fair")
  for function in (scoring.best_of_k_correct, scoring.reciprocal_rank,
                   scoring.separated, scoring.margins):
    name = function.__name__
    with pytest.raises(ValueError, match=rf"{name}: .*'num_correct': \(3,\)"):
      function(SCORES, jnp.ones(3, int))
