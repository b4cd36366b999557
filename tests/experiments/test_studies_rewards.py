"""The toy worlds of the studies of rewards, against what is known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.noise_studies import renorm as studies_renorm
from experiments.noise_studies import steps as studies_steps
from experiments.noise_studies import tables as studies_tables
from experiments.noise_studies import thoughts as studies_thoughts


def test_score_gradient_of_a_table_by_hand():
  logits = jnp.zeros((1, 2))
  chosen, advantages = jnp.array([[0, 1]]), jnp.array([[1.0, -1.0]])
  actual = studies_tables.ascend(
      logits, chosen, advantages, learning_rate=1.0
  )
  # Each sample: A (one-hot - 1/2); their mean.
  np.testing.assert_allclose(actual, [[0.5, -0.5]], rtol=1e-6)


def test_success_of_a_chain_is_what_is_played():
  random = np.random.default_rng(0)
  policy = studies_thoughts.Policy(
      *(jnp.array(random.normal(size=s)) for s in ((2, 3), (2, 3, 2), (2, 3)))
  )
  actions = studies_thoughts.play(jax.random.key(0), policy, (50, 400))
  first, again, second = (np.asarray(actions[..., i]) for i in range(3))
  right = np.all(np.where(again == 1, second, first) == 0, axis=-1)
  rate = float(studies_thoughts.success_rate(policy))
  bound = 5 * np.sqrt(rate * (1 - rate) / right.size)
  assert abs(right.mean() - rate) < bound


def test_log_probs_of_a_chain_sum_to_one():
  policy = studies_thoughts.Policy(
      jnp.array([[0.3, -1.0]]),
      jnp.array([[[0.1, 0.5], [0.0, 2.0]]]),
      jnp.array([[1.0, 0.2]]),
  )
  listed = np.array(np.meshgrid(*[range(2)] * 3)).reshape(3, -1).T
  actions = jnp.array(listed)[None, :, None]
  log_probs = studies_thoughts.log_probs_of(policy, actions)
  total = jnp.sum(jnp.exp(jnp.sum(log_probs, -1)))
  np.testing.assert_allclose(total, 1.0, rtol=1e-6)


def test_first_step_above_a_level():
  lines = np.array([[0.1, 0.5, 0.4], [0.6, 0.7, 0.8], [0.0, 0.0, 0.1]])
  actual = studies_tables.first_above(lines, 0.5)
  np.testing.assert_array_equal(actual, [2, 1, 3])


@pytest.mark.parametrize("action", [0, 1, 2])
def test_a_policy_with_one_action_plays_its_episode(action):
  logits = jnp.where(jnp.arange(3) == action, 50.0, 0.0)
  logits = jnp.broadcast_to(logits, (4, 2, 3))
  actions, fixed, alive, submitted, resolved = studies_steps._play(
      jax.random.key(0), logits, group_size=5, fixes=1.0, ends=0.0
  )
  np.testing.assert_array_equal(actions, action)
  assert np.all(submitted) == (action == studies_steps.SUBMIT)
  assert not np.any(resolved)
  turns = 1 if action == studies_steps.SUBMIT else 4
  np.testing.assert_array_equal(alive.sum(-1), turns)
  first_fixed = [0, 1, 1, 1] if action == studies_steps.FIX else [0] * 4
  np.testing.assert_array_equal(fixed, [first_fixed] * 5)


def test_chance_of_enough_useful_steps_by_listing():
  p = np.array([0.2, 0.5, 0.9])
  for needed in range(4):
    expected = sum(
        np.prod(np.where(draw, p, 1 - p))
        for draw in np.ndindex(2, 2, 2)
        if sum(draw) >= needed
    )
    actual = studies_renorm._success(jnp.array(p), needed)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
