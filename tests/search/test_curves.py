import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import pass_at_k
from rewardjax.search import curves
from tests import variants

pass_at_k = variants.programs(pass_at_k)
curves = variants.programs(curves)

KEY = jax.random.key(0)
# Three problems; answer 9 is what could not be read.
ANSWERS = jnp.array([[2, 2, 5, 9, 5], [1, 9, 9, 9, 1], [3, 3, 3, 4, 3]])
REWARDS = jnp.array([
    [0.2, 0.1, 0.9, 0.9, 0.1],
    [0.6, 0.1, 0.5, 0.2, 0.3],
    [0.1, 0.1, 0.1, 0.8, 0.2],
])
GOLD = jnp.array([5, 1, 3])
SIZES = jnp.array([1, 3, 5])


def enumerated(n):
  """All orders of n samples, in plain Python; of all five the one given."""
  right = np.zeros(4)
  for answers, rewards, gold in zip(
      np.asarray(ANSWERS), np.asarray(REWARDS), np.asarray(GOLD)
  ):
    orders = list(itertools.permutations(range(5), n)) if n < 5 else [range(5)]
    for order in map(list, orders):
      sums, counts = {}, {}
      for i in order:
        sums[answers[i]] = sums.get(answers[i], 0) + rewards[i]
        counts[answers[i]] = counts.get(answers[i], 0) + 1
      found = [
          answers[order[np.argmax(rewards[order])]] == gold,
          max(sums, key=sums.get) == gold,  # the first of equal ones
          max(counts, key=counts.get) == gold,
          gold in answers[order],
      ]
      right += np.array(found) / len(orders) / 3
  return right


@pytest.fixture(scope="module")
def found():
  return curves.selection_curves(
      KEY, ANSWERS, REWARDS, GOLD, sizes=SIZES, num_runs=1500
  )


def test_equals_the_mean_over_all_orders(found):
  expected = np.array([enumerated(int(n)) for n in SIZES]).T
  np.testing.assert_allclose(found, expected, atol=0.03)
  # All samples: nothing is random.
  np.testing.assert_allclose([x[-1] for x in found], expected[:, -1], atol=1e-6)


def test_five_samples_with_ties_by_hand():
  """7 and 4 twice each, rewards tied at 0.9; 5 is drawn first, then last."""
  answers, rewards = jnp.array([[7, 4, 5, 4, 7]]), [[0.2, 0.9, 0.5, 0.1, 0.9]]
  # The sums are 1.1, 1 and 0.5 of all; 0.5, 0.9 and 0.9 of the first three.
  order = jnp.array([[2, 4, 1, 3, 0]])
  of = lambda order, gold: curves.ordered_selections(
      order, answers, jnp.array(rewards), jnp.array([gold]),
      sizes=jnp.array([1, 2, 3, 4, 5]),
  )
  seven, four, five = (of(order, gold) for gold in (7, 4, 5))
  rows = lambda x: [np.asarray(curve[0]).astype(int).tolist() for curve in x]
  assert rows(seven) == [
      [0, 1, 1, 1, 0],  # 0.9 of 7 is drawn first, 0.9 of 4 stands first
      [0, 1, 1, 0, 1],  # four: 0.9 against 0.9 + 0.1
      [0, 0, 0, 0, 1],  # all five: of two that tie the first in the row
      [0, 1, 1, 1, 1],
  ]
  assert rows(four) == [
      [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 1, 0], [0, 0, 1, 1, 1]
  ]
  assert rows(five)[2] == [1, 1, 1, 0, 0]
  # Nothing is read behind the largest n, and what stands there is the same.
  three = curves.ordered_selections(
      order[:, :3], answers, jnp.array(rewards), jnp.array([7]),
      sizes=jnp.array([1, 2, 3]),
  )
  assert rows(three) == [curve[:3] for curve in rows(seven)]
  other = of(jnp.array([[2, 4, 1, 0, 3]]), 7)
  for a, b in zip(rows(other), rows(seven)):
    assert a[:3] == b[:3]


def test_any_answer_is_pass_at_k(found):
  for i, n in enumerate(SIZES):
    expected = pass_at_k.pass_at_k(ANSWERS == GOLD[:, None], k=int(n)).mean()
    np.testing.assert_allclose(found.pass_at_n[i], expected, atol=0.03)


@variants.op_by_op()
def test_equal_rewards_make_the_weighted_vote_a_majority():
  found = curves.selection_curves(
      KEY, ANSWERS, jnp.full((3, 5), 0.4), GOLD, sizes=SIZES, num_runs=50
  )
  np.testing.assert_array_equal(found.weighted_vote, found.majority_vote)


def test_one_sample_leaves_no_choice(found):
  for curve in found[1:]:
    np.testing.assert_array_equal(found.best_of_n[0], curve[0])


def test_masked_samples_and_answers_without_an_id_are_never_right():
  mask = jnp.array([[True] * 5, [True] * 3 + [False] * 2, [False] * 5])
  answers = ANSWERS.at[0].set(-1).at[1, 3:].set(1)
  rewards = REWARDS.at[1, 3:].set(jnp.nan).at[2].set(jnp.nan)
  gold = GOLD.at[0].set(-1)
  found = curves.selection_curves(
      KEY, answers, rewards, gold, mask, sizes=jnp.array([9]), num_runs=2
  )
  # Of problem 1: 1 with reward 0.6, twice 9 with 0.1 and 0.5; it ties.
  np.testing.assert_allclose(jnp.stack(found)[:, 0], [1 / 3, 1 / 3, 0, 1 / 3])


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"num_runs must be in \[1"):
    curves.selection_curves(
        KEY, ANSWERS, REWARDS, GOLD, sizes=SIZES, num_runs=0
    )
  with pytest.raises(ValueError, match=r"'rewards': \(3, 4\)"):
    curves.selection_curves(
        KEY, ANSWERS, REWARDS[:, 1:], GOLD, sizes=SIZES, num_runs=1
    )
  with pytest.raises(ValueError, match=r"'gold': \(2,\)"):
    curves.selection_curves(
        KEY, ANSWERS, REWARDS, GOLD[1:], sizes=SIZES, num_runs=1
    )
