import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import comparisons
from tests import variants

comparisons = variants.programs(comparisons)

NAN = jnp.nan


@variants.every
@pytest.mark.parametrize("ties, worth", [("strict", 0), ("half", 0.5),
                                         ("loose", 1)])
def test_pairs_by_hand(ties, worth, variant):
  chosen = jnp.array([1.0, 2.0, 3.0, NAN])
  rejected = jnp.array([0.0, 2.0, 4.0, 1.0])
  credit = variant(comparisons.pairwise_accuracy)(chosen, rejected, ties=ties)
  np.testing.assert_allclose(credit, [1, worth, 0, 0])


@variants.every
def test_votes_by_hand(variant):
  correct = jnp.array([[1, 1, 0, 1], [1, 1, 0, 0], [1, 0, 1, 1], [0] * 4])
  mask = jnp.array([[1] * 4, [1] * 4, [1, 1, 1, 0], [0] * 4]).astype(bool)
  vote = variant(comparisons.vote_correct)
  correct = correct.astype(bool)
  np.testing.assert_array_equal(vote(correct, mask), [1, 0, 0, 0])
  read = variant(lambda *x: comparisons.vote_correct(*x, unread_is_wrong=False))
  np.testing.assert_array_equal(read(correct, mask), [1, 0, 1, 0])


@pytest.mark.parametrize("k, expected", [(1, 0.6), (3, 0.648), (9, 0.733432)])
def test_more_votes_help_by_enumeration(k, expected):
  outcomes = np.array(list(itertools.product([False, True], repeat=k)))
  chance = np.prod(np.where(outcomes, 0.6, 0.4), axis=1)
  right = np.asarray(comparisons.vote_correct(jnp.array(outcomes)))
  assert chance @ right == pytest.approx(expected, abs=1e-6)


def test_acc_plus_by_hand():
  correct = jnp.array([1.0, 1.0, 1.0, 0.0, 1.0])
  groups = jnp.array([0, 0, 1, 1, 2])
  found = comparisons.acc_plus(correct, groups, num_groups=4)
  assert found.value == pytest.approx(2 / 3) and found.weight == 3
  assert np.mean(correct) == pytest.approx(0.8)
  alone = comparisons.acc_plus(correct, jnp.arange(5), num_groups=5)
  assert alone.value == pytest.approx(0.8)
  mask = jnp.array([True, True, True, False, False])
  hidden = jnp.where(mask, correct, NAN)
  found = comparisons.acc_plus(hidden, groups, mask, num_groups=3)
  assert found.value == 1 and found.weight == 2
  unknown = comparisons.acc_plus(jnp.full(1, NAN), groups[:1], num_groups=1)
  assert unknown.value == 0 and unknown.weight == 1
  nothing = comparisons.acc_plus(correct, groups, ~mask & mask, num_groups=3)
  assert nothing.value == 0 and nothing.weight == 0


def best_by_trying(labels, m):
  sizes = [0.0, *np.abs(m)]
  called = lambda e: np.sign(m) * (np.abs(m) > e)
  return max(np.mean(called(e) == labels) for e in sizes)


def test_tie_calibration_by_hand():
  labels = jnp.array([1, -1, 0, 0])
  m = jnp.array([3.0, -2.0, 1.0, -0.5])
  found = comparisons.tie_calibrated_accuracy(labels, m)
  assert found == (1.0, 1.0)
  ones = jnp.array([1, 1])
  never = comparisons.tie_calibrated_accuracy(ones, jnp.array([1.0, 2.0]))
  assert never == (1.0, 0.0)
  always = comparisons.tie_calibrated_accuracy(
      jnp.zeros(3, int), jnp.array([1.0, -2.0, NAN]),
      jnp.array([True, True, False]),
  )
  assert always == (1.0, 2.0)


def test_tie_calibration_against_every_threshold():
  random = np.random.default_rng(0)
  calibrate = jax.jit(comparisons.tie_calibrated_accuracy)
  for _ in range(20):
    n = int(random.integers(1, 12))
    labels = random.integers(-1, 2, n)
    m = random.integers(-3, 4, n) / 2  # with equal ones, and zeros
    rest = 12 - n
    found = calibrate(
        np.append(labels, np.ones(rest, int)),
        np.append(m, np.full(rest, np.nan)),
        np.arange(12) < n,
    )
    assert found.accuracy == pytest.approx(best_by_trying(labels, m))
    called = np.sign(m) * (np.abs(m) > float(found.threshold))
    assert found.accuracy == pytest.approx(np.mean(called == labels))


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="ties must be one of strict, half"):
    comparisons.pairwise_accuracy(jnp.ones(2), jnp.ones(2), ties="fair")
  with pytest.raises(ValueError, match=r"'rejected': \(3,\)"):
    comparisons.pairwise_accuracy(jnp.ones(2), jnp.ones(3))
  with pytest.raises(ValueError, match=r"vote_correct: .*'mask': \(3,\)"):
    comparisons.vote_correct(jnp.ones(2, bool), jnp.ones(3, bool))
  with pytest.raises(ValueError, match=r"acc_plus: .*'groups': \(3,\)"):
    comparisons.acc_plus(jnp.ones(2), jnp.ones(3, int), num_groups=1)
  with pytest.raises(ValueError, match=r"'margins': \(3,\)"):
    comparisons.tie_calibrated_accuracy(jnp.ones(2, int), jnp.ones(3))
