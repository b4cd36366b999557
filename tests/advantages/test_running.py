import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import running
from rewardjax.training.checkpoints import Checkpointer
from tests import variants

NAN = jnp.nan
REWARDS = jnp.array([[1.0, 3.0, NAN, 10.0], [5.0, 20.0, 7.0, 0.0]])
TASKS = jnp.array([[0, 0, 0, 1], [0, 1, 9, -1]])
MASK = jnp.array([[True, True, False, True], [True] * 4])


def _added(state, rewards, tasks, mask=None, **options):
  size = state.mean.shape[0]
  batch = running.task_statistics(rewards, tasks, mask, num_tasks=size)
  return running.update_tasks(state, batch, **options)


def test_statistics_of_one_batch_by_hand():
  state = _added(running.init_tasks(3), REWARDS, TASKS, MASK)
  np.testing.assert_allclose(state.weight, [3, 2, 0])
  np.testing.assert_allclose(state.mean, [3, 15, 0])
  np.testing.assert_allclose(state.variance, [8 / 3, 25, 0], rtol=1e-6)


@pytest.mark.parametrize("cuts", [(), (1,), (3, 4, 11)])
def test_batches_add_up_to_all_rewards_at_once(cuts):
  random = np.random.default_rng(1)
  rewards = random.normal(1e3, 1.0, size=20)
  tasks = random.integers(0, 2, 20)
  state = running.init_tasks(2)
  for r, t in zip(np.split(rewards, cuts), np.split(tasks, cuts)):
    state = _added(state, jnp.array(r), jnp.array(t))
  for k in range(2):
    mine = rewards[tasks == k]
    np.testing.assert_allclose(state.mean[k], mine.mean(), rtol=1e-6)
    # In float32, far from 0: a difference of squares would lose it all.
    np.testing.assert_allclose(state.variance[k], mine.var(), rtol=2e-3)


def test_devices_merge_their_statistics():
  collect = functools.partial(running.task_statistics, num_tasks=2)
  whole = collect(REWARDS, TASKS, MASK)
  parts = [collect(*x) for x in zip(REWARDS, TASKS, MASK)]
  for a, b in (parts, parts[::-1]):
    merged = running.merge_tasks(a, b)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), merged, whole
    )


def test_older_rewards_weigh_less_and_only_where_there_are_newer_ones():
  state = _added(
      running.init_tasks(2), jnp.array([0.0, 0.0, 4.0]), jnp.array([0, 0, 1])
  )
  state = _added(state, jnp.array([6.0]), jnp.array([0]), decay=0.5)
  np.testing.assert_allclose(state.weight, [2, 1])
  np.testing.assert_allclose(state.mean, [3, 4])
  np.testing.assert_allclose(state.variance, [9, 0])


def test_state_passes_through_jit_and_scan():
  @jax.jit
  def collect(rewards, tasks):
    step = lambda state, x: (_added(state, *x), state.mean)
    return jax.lax.scan(step, running.init_tasks(2), (rewards, tasks))[0]

  tasks = jnp.array([[0, 1], [1, 1]])
  state = collect(jnp.array([[1.0, 2.0], [4.0, 6.0]]), tasks)
  np.testing.assert_allclose(state.mean, [1, 4])


def test_a_checkpoint_brings_the_statistics_back(tmp_path):
  state = _added(running.init_tasks(2), REWARDS, TASKS, MASK)
  both = state, running.update_spread(running.init_spread(), jnp.array(0.3))
  with Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(1, both)
    checkpointer.wait()
    start = running.init_tasks(2), running.init_spread()
    restored = checkpointer.restore(start)
  jax.tree.map(np.testing.assert_array_equal, restored.tree, both)
  assert isinstance(restored.tree[0], running.TaskStatistics)


@variants.every
def test_standardized_by_hand(variant):
  state = running.TaskStatistics(
      jnp.array([3.0, 2.0, 1.0]),
      jnp.array([3.0, 15.0, 8.0]),
      jnp.array([12.0, 50.0, 0.0]),
  )
  call = functools.partial(running.task_standardized, state, epsilon=0.0)
  actual = variant(call)(REWARDS, TASKS, MASK)
  expected = [[-1, 0, 0, -1], [1, 1, 0, 0]]
  np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_a_task_without_history_is_left_as_it_is():
  state = running.init_tasks(2)
  actual = running.task_standardized(state, REWARDS, TASKS, MASK)
  expected = [[1, 3, 0, 10], [5, 20, 0, 0]]
  np.testing.assert_allclose(actual, expected)
  slope = jax.grad(
      lambda r: jnp.sum(running.task_standardized(state, r, TASKS, MASK))
  )(REWARDS)
  np.testing.assert_array_equal(slope, [[1, 1, 0, 1], [1, 1, 0, 0]])


def test_unequal_scales_become_equal():
  """Task 1 pays a thousand times task 0; both have unit spread after."""
  random = np.random.default_rng(0)
  tasks = jnp.arange(400) % 2
  scale = jnp.where(tasks == 1, 1000.0, 1.0)
  rewards = jnp.array(random.normal(size=400), jnp.float32) * scale
  state = _added(running.init_tasks(2), rewards, tasks)
  actual = running.task_standardized(state, rewards, tasks)
  for k in range(2):
    np.testing.assert_allclose(jnp.std(actual[tasks == k]), 1.0, rtol=1e-4)


def test_running_spread_of_the_table():
  """.1, then .12, .05 and .3 with decay .99."""
  state = running.Spread(jnp.array(0.1), jnp.array(1))
  for spread in (0.12, 0.05, 0.3):
    state = running.update_spread(state, jnp.array(spread))
  np.testing.assert_allclose(state.mean, 0.101701, atol=1e-6)
  assert state.updates == 4
  first = running.update_spread(running.init_spread(), jnp.array(0.7))
  np.testing.assert_allclose(first.mean, 0.7)


@variants.every
def test_spreads_by_hand(variant):
  rewards = jnp.array([[0.0, 1.0, NAN], [0.3, 0.3, 0.3], [2.0, NAN, NAN]])
  rewards = jnp.concatenate([rewards, rewards[:1]])
  mask = ~jnp.isnan(rewards)
  actual = variant(running.group_spreads)(rewards, mask)
  np.testing.assert_allclose(actual, [0.5, 0, 0, 0.5], rtol=1e-6)
  slope = jax.grad(lambda r: jnp.sum(running.group_spreads(r, mask)))(rewards)
  assert np.all(np.isfinite(slope))


def test_wide_groups_reach_the_factor_of_the_running_mean():
  rewards = jnp.array([[0.0, 1.0], [0.0, 0.4], [0.0, 0.2]])
  wide = functools.partial(running.wide_groups, rewards=rewards, factor=0.5)
  state = running.Spread(jnp.array(0.4), jnp.array(5))
  np.testing.assert_array_equal(wide(state), [True, True, False])
  early = state._replace(updates=jnp.array(4))
  np.testing.assert_array_equal(wide(early), [True] * 3)


def test_names_bad_arguments(no_jaxtyping):
  state = running.init_tasks(2)
  with pytest.raises(ValueError, match="num_tasks must be in"):
    running.init_tasks(0)
  with pytest.raises(ValueError, match="task_statistics: expected one"):
    running.task_statistics(jnp.ones(3), jnp.zeros(2, int), num_tasks=2)
  with pytest.raises(ValueError, match="decay must be in"):
    running.update_tasks(state, state, decay=1.5)
  with pytest.raises(ValueError, match="decay must be in"):
    running.update_spread(running.init_spread(), jnp.ones(()), decay=-0.1)
  with pytest.raises(ValueError, match="factor must be in"):
    running.wide_groups(running.init_spread(), jnp.ones((2, 2)), factor=-1.0)
