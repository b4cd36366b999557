import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.search import mcts, step_labels
from tests import variants

NAN = jnp.nan
VERDICTS = jnp.array([[1.0, 1.0, -1.0, NAN], [1.0, 1.0, -1.0, NAN],
                      [NAN] * 4, [1.0] * 4])
MASK = jnp.array([[1, 1, 1, 0], [1, 1, 1, 0], [0] * 4, [1] * 4]).astype(bool)
FINAL = jnp.array([1.0, -1.0, 1.0, 1.0])


@variants.every
def test_rollout_values_by_hand(variant):
  value = variant(step_labels.hybrid_rollout_value)(VERDICTS, FINAL, MASK)
  # All right: (n + 1) / (2 n) + 1 / n, the most there is.
  expected = [0.777778, 0.111111, 1, 5 / 8 + 1 / 4]
  np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_weight_of_the_answer_and_gradients():
  value = lambda v, f: step_labels.hybrid_rollout_value(v, f, final_weight=0.5)
  v = jnp.array([1.0, 1.0, -1.0])
  np.testing.assert_allclose(value(v, jnp.array(1.0)), 4 / 9 + 0.5, rtol=1e-6)
  slope, final = jax.grad(value, (0, 1))(v, jnp.array(1.0))
  np.testing.assert_allclose(slope, np.array([3, 2, 1]) / 9, rtol=1e-6)
  assert final == 0.5
  total = lambda v: jnp.sum(step_labels.hybrid_rollout_value(v, FINAL, MASK))
  slope = jax.grad(total)(VERDICTS)
  np.testing.assert_array_equal(np.asarray(slope)[~np.asarray(MASK)], 0)


def test_uct_by_hand():
  score = mcts.uct(3.0, 4, 9, exploration=2.0, sign=-1)
  assert score == pytest.approx(-0.75 + 2 * math.sqrt(math.log(10) / 5))
  assert mcts.uct(3.0, 4, 9, exploration=0.0) == 0.75
  assert mcts.uct(0.0, 0, 1, exploration=1.0) == math.sqrt(math.log(2))


def binary(depth, order=(0, 1)):
  """Steps 1 (right) and 0; an answer is right if all its steps are."""
  return mcts.Problem(
      expand=lambda key, path, n: list(order)[:n],
      check_step=lambda path: path[-1] == 1,
      check_final=all,
      is_final=lambda path: len(path) == depth,
  )


def test_values_travel_up_by_hand():
  """One round opens the root and completes the step 1: u, then 0.9 u."""
  nodes = mcts.mcts(
      jax.random.key(0), binary(3, (1, 0)), num_rounds=1, max_depth=3
  )
  assert [node.path for node in nodes] == [(), (1,), (0,)]
  # After it: one right step, then a right answer, n = 1.
  np.testing.assert_allclose([n.value for n in nodes], [1.8, 2, 0], rtol=1e-6)
  assert [n.visits for n in nodes] == [1, 1, 0]
  assert [n.verdict for n in nodes] == [0, 1, -1]


def test_perfect_checks_label_a_full_tree_with_the_truth():
  nodes = mcts.mcts(
      jax.random.key(0), binary(3), num_rounds=40, num_children=2, max_depth=3
  )
  assert len(nodes) == 15
  for node in nodes[1:]:
    assert node.verdict == (
        1 if (all(node.path) if node.final else node.path[-1]) else -1
    )
  chains = mcts.extract_paths(nodes, num_right=3, num_wrong=3)
  assert len(chains) == 4
  assert nodes[chains[0][-1]].path == (1, 1, 1)
  values = jnp.array([[nodes[i].value for i in c] for c in chains])
  verdicts = jnp.array([[float(nodes[i].verdict) for i in c] for c in chains])
  correct = jnp.array([True, False, False, False])
  labels, mask = step_labels.path_labels(values, verdicts, correct)
  assert np.all(mask[0]) and np.all(labels[0])
  np.testing.assert_array_equal(labels[mask], (verdicts > 0)[mask])


def test_the_sign_leads_to_right_or_wrong_chains():
  counts = {}
  for sign in (1, -1):
    nodes = mcts.mcts(
        jax.random.key(0),
        binary(3, (1, 0)),
        num_rounds=30,
        num_children=2,
        max_depth=3,
        sign=sign,
        exploration=0.5,
    )
    counts[sign] = sum(n.visits for n in nodes if n.path == (1, 1, 1))
  assert counts[1] > counts[-1]


def test_equal_steps_stay_apart_and_dead_ends_are_wrong():
  stuck = mcts.Problem(
      expand=lambda key, path, n: ["same"] * n if len(path) < 2 else [],
      check_step=lambda path: True,
      check_final=lambda path: True,
      is_final=lambda path: False,
  )
  nodes = mcts.mcts(jax.random.key(0), stuck, num_rounds=3, num_children=3)
  assert [n.path for n in nodes[1:4]] == [("same",)] * 3
  # One right step follows, and no answer: 1 - 1.
  assert all(node.value <= 0 for node in nodes[1:4])
  assert mcts.extract_paths(nodes, num_right=9, num_wrong=9) == []


def test_an_answer_is_its_own_value():
  nodes = mcts.mcts(
      jax.random.key(0), binary(1), num_rounds=2, num_children=2, max_depth=1
  )
  values = {n.path: n.value / n.visits for n in nodes[1:]}
  assert values == {(0,): -1, (1,): 1}


@variants.every
def test_path_labels_by_hand(variant):
  values = jnp.array([[1.0, -1.0, 0.0, -1.0], [1.0, -1.0, 0.0, NAN]])
  verdicts = jnp.array([[1.0, -1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, NAN]])
  correct = jnp.array([False, True])
  mask = jnp.array([[True] * 4, [True] * 3 + [False]])
  found = variant(step_labels.path_labels)(values, verdicts, correct, mask)
  np.testing.assert_array_equal(found.labels, [[1, 0, 1, 0], [1, 0, 1, 0]])
  # A wrong chain ends where its values recover; a right one does not.
  np.testing.assert_array_equal(found.mask, [[1, 1, 0, 0], [0, 1, 1, 0]])


def test_names_bad_arguments(no_jaxtyping):
  key, problem = jax.random.key(0), binary(2)
  with pytest.raises(ValueError, match="mcts: num_children must be in"):
    mcts.mcts(key, problem, num_children=0)
  with pytest.raises(ValueError, match="mcts: decay must be in"):
    mcts.mcts(key, problem, decay=1.5)
  with pytest.raises(ValueError, match=r"final must be \[\*batch\]"):
    step_labels.hybrid_rollout_value(VERDICTS, FINAL[:2])
  with pytest.raises(ValueError, match=r"'verdicts': \(2,\)"):
    step_labels.path_labels(jnp.ones(3), jnp.ones(2), jnp.array(True))
