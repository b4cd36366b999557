"""Statistics of rewards kept over steps: of tasks, and of group spreads.

States are NamedTuples of arrays: they pass through jit, scan and checkpoints.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking, statistics
from rewardjax.types import Scalar


class TaskStatistics(NamedTuple):
  """Weight, mean and sum of squared deviations of the rewards of K tasks."""

  weight: Float[Array, " K"]
  mean: Float[Array, " K"]
  deviation: Float[Array, " K"]

  @property
  def variance(self) -> Float[Array, " K"]:
    """Biased, in reward units squared; 0 for tasks without rewards."""
    return masking.safe_divide(self.deviation, self.weight)


def init_tasks(num_tasks: int) -> TaskStatistics:
  """Nothing known of K tasks.

  Raises:
    ValueError: if `num_tasks` is less than 1.
  """
  checks.at_least("init_tasks", 1, num_tasks=num_tasks)
  return TaskStatistics(*(jnp.zeros(num_tasks) for _ in range(3)))


def task_statistics(
    rewards: Float[Array, "*batch"],
    tasks: Int[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    num_tasks: int,
) -> TaskStatistics:
  """Statistics of a batch: means first, then distances from them.

  Args:
    rewards: in the units of their task.
    tasks: of each reward, 0 .. K-1; any other id counts nowhere.
    mask: True for known rewards; None means all.
    num_tasks: K (static).

  Gradient: flows through `rewards`; statistics are usually held.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("task_statistics", rewards=rewards, tasks=tasks, mask=mask)
  mask = jnp.ones(rewards.shape, bool) if mask is None else mask
  known = mask & (tasks >= 0) & (tasks < num_tasks)
  ids = jnp.where(known, tasks, 0)
  rewards = masking.fill_masked(rewards, known)
  add = lambda x: statistics.segment_counts(
      x, ids, known, num_segments=num_tasks
  )
  weight = add(jnp.ones_like(rewards))
  mean = masking.safe_divide(add(rewards), weight)
  return TaskStatistics(weight, mean, add(jnp.square(rewards - mean[ids])))


def merge_tasks(
    first: TaskStatistics, second: TaskStatistics
) -> TaskStatistics:
  """Statistics of both: of two batches, devices or times, in any order.

  Means are merged by their distance, never by sums of squares: rewards far
  from 0 keep their variance in float32.

  References:
    Chan et al., "Updating formulae and a pairwise algorithm for computing
      sample variances", 1979.
  """
  weight = first.weight + second.weight
  distance = second.mean - first.mean
  share = masking.safe_divide(second.weight, weight)
  deviation = first.deviation + second.deviation
  return TaskStatistics(
      weight,
      first.mean + distance * share,
      deviation + jnp.square(distance) * first.weight * share,
  )


def update_tasks(
    state: TaskStatistics, batch: TaskStatistics, *, decay: Scalar = 1.0
) -> TaskStatistics:
  """Adds a batch; what was known before weighs `decay` times as much.

  With decay 1 the result is that of all rewards at once. A task without
  rewards in the batch keeps what it has.

  Args:
    state: so far.
    batch: of `task_statistics`, merged over devices.
    decay: of the weight of older rewards, per update.

  Raises:
    ValueError: unless 0 <= decay <= 1.
  """
  checks.probability("update_tasks", decay=decay)
  # Without news there is nothing to make room for.
  factor = jnp.where(batch.weight > 0, decay, 1.0)
  older = TaskStatistics(
      factor * state.weight, state.mean, factor * state.deviation
  )
  return merge_tasks(older, batch)


def task_standardized(
    state: TaskStatistics,
    rewards: Float[Array, "*batch"],
    tasks: Int[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    epsilon: Scalar = 1e-6,
    min_weight: Scalar = 2.0,
) -> Float[Array, "*batch"]:
  """(r - mean of its task) / (std of its task + epsilon).

  For rewards whose scales differ between tasks. Use the statistics from
  before the batch: then the baseline of a sample does not depend on it.

  Args:
    state: of the tasks.
    rewards: in the units of their task.
    tasks: of each reward, 0 .. K-1.
    mask: True for known rewards; None means all.
    epsilon: added to the std.
    min_weight: tasks with less weight so far, or without spread, are not
      divided; their mean is subtracted as it is (0 at the start).

  Returns:
    Float32 or wider; 0 for unknown rewards and unknown tasks.

  Gradient: flows through `rewards`.

  Raises:
    ValueError: if shapes differ.
  """
  where = "task_standardized"
  checks.same_shape(where, rewards=rewards, tasks=tasks, mask=mask)
  mask = jnp.ones(rewards.shape, bool) if mask is None else mask
  known = mask & (tasks >= 0) & (tasks < state.mean.shape[0])
  ids = jnp.where(known, tasks, 0)
  variance = state.variance
  ready = (state.weight >= min_weight) & (variance > 0)
  std = jnp.sqrt(jnp.where(ready, variance, 1.0))
  scale = jnp.where(ready, std + epsilon, 1.0)
  centred = masking.fill_masked(rewards, known) - state.mean[ids]
  return masking.fill_masked(centred / scale[ids], known)


class Spread(NamedTuple):
  """The running mean of group stds, and how many updates it has seen."""

  mean: Float[Array, ""]
  updates: Int[Array, ""]


def init_spread() -> Spread:
  """Before the first update."""
  return Spread(jnp.zeros(()), jnp.zeros((), int))


def group_spreads(
    rewards: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
    *,
    ddof: int = 0,
) -> Float[Array, "*batch"]:
  """The std of each group, in reward units; 0 for fewer than two samples.

  Gradient: none is defined for equal rewards; it is 0 there.
  """
  checks.same_shape("group_spreads", rewards=rewards, mask=mask)
  variance = masking.masked_variance(rewards, mask, -1, ddof=ddof)
  spread = variance > 0
  return jnp.where(spread, jnp.sqrt(jnp.where(spread, variance, 1.0)), 0.0)


def update_spread(
    state: Spread, spread: Float[Array, ""], *, decay: Scalar = 0.99
) -> Spread:
  """mean <- decay * mean + (1 - decay) * spread; the first one is kept whole.

  Args:
    state: so far.
    spread: the mean of `group_spreads` over the whole batch.
    decay: of what was known before.

  Raises:
    ValueError: unless 0 <= decay <= 1.
  """
  checks.probability("update_spread", decay=decay)
  moved = decay * state.mean + (1 - decay) * spread
  mean = jnp.where(state.updates > 0, moved, spread)
  return Spread(mean, state.updates + 1)


def wide_groups(
    state: Spread,
    rewards: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
    *,
    factor: Scalar,
    min_updates: int = 5,
    ddof: int = 0,
) -> Bool[Array, "*batch"]:
  """True for groups whose std reaches factor * the running mean.

  What continuous rewards have in place of "not all equal". Before
  `min_updates` every group passes.

  Args:
    state: of earlier batches.
    rewards: one per sample.
    mask: True for known rewards; None means all.
    factor: of the running mean of stds.
    min_updates: of the state before anything is dropped.
    ddof: of the std, as in `group_spreads`.

  Raises:
    ValueError: if `factor` is negative.

  References:
    "RLPR: Extrapolating RLVR to General Domains without Verifiers", 2025
      (std filtering).
  """
  checks.at_least("wide_groups", 0.0, factor=factor)
  spreads = group_spreads(rewards, mask, ddof=ddof)
  return (spreads >= factor * state.mean) | (state.updates < min_updates)
