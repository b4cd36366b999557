"""Which data to learn from next: bandits over sources, and stages.

States are NamedTuples of arrays: they go into checkpoints as they are, and
every function is pure and jittable.

References:
  "DUMP: Automated Distribution-Level Curriculum Learning for RL-based LLM
    Post-training".
  Auer, Cesa-Bianchi and Fischer, "Finite-time Analysis of the Multiarmed
    Bandit Problem", 2002 (UCB).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


class UcbState(NamedTuple):
  """The last W magnitudes of each of D sources, as ring buffers.

  recent: slots are filled in turn; those beyond `counts` are not yet.
  counts: samples seen of each source, since the start.
  """

  recent: Float[Array, "D W"]
  counts: Int[Array, " D"]


def ucb_init(num_sources: int, *, window: int = 300) -> UcbState:
  """Nothing seen yet.

  Raises:
    ValueError: if a size is not positive.
  """
  checks.at_least("ucb_init", 1, num_sources=num_sources, window=window)
  return UcbState(
      jnp.zeros((num_sources, window)), jnp.zeros(num_sources, jnp.int32)
  )


def ucb_update(
    state: UcbState,
    magnitudes: Float[Array, " N"],
    sources: Int[Array, " N"],
    mask: Bool[Array, " N"] | None = None,
) -> UcbState:
  """Appends samples in order; each source forgets all but its last W.

  Args:
    state: before.
    magnitudes: |advantage| of each training sample. Not divided by the std
      of its group: that makes all mixed groups alike.
    sources: where each came from, 0 .. D-1; others are left out.
    mask: True for valid samples.

  Raises:
    ValueError: if shapes differ.
  """
  where = "ucb_update"
  checks.same_shape(where, magnitudes=magnitudes, sources=sources, mask=mask)
  num_sources, window = state.recent.shape
  valid = (sources >= 0) & (sources < num_sources)
  valid = valid if mask is None else valid & mask
  mine = (sources[:, None] == jnp.arange(num_sources)[None]) & valid[:, None]
  # Of its source, how many came before each sample and how many come in all.
  order = jnp.cumsum(mine, axis=0) - 1
  safe = jnp.where(valid, sources, 0)
  order = jnp.take_along_axis(order, safe[:, None], axis=1)[:, 0]
  new = jnp.sum(mine, axis=0)
  # More than W at once: only the last W may write, or slots would collide.
  kept = valid & (order >= new[safe] - window)
  slot = (state.counts[safe] + order) % window
  row = jnp.where(kept, safe, num_sources)
  values = masking.fill_masked(magnitudes, kept).astype(state.recent.dtype)
  recent = state.recent.at[row, slot].set(values, mode="drop")
  return UcbState(recent, state.counts + new.astype(state.counts.dtype))


def ucb_scores(
    state: UcbState, *, exploration: Scalar = 1.0
) -> Float[Array, " D"]:
  """Mean of the last magnitudes, plus a bonus for what is seldom seen.

      L_d + exploration * sqrt(2 log(n + 1) / (n_d + 1)),   n = sum of n_d

  The bonus falls like 1 / sqrt(n_d): sources whose samples are all solved or
  all hopeless have L_d = 0 and live on it.

  Raises:
    ValueError: if `exploration` is negative.
  """
  checks.at_least("ucb_scores", 0.0, exploration=exploration)
  window = state.recent.shape[1]
  filled = jnp.arange(window)[None] < state.counts[:, None]
  mean = masking.masked_mean(state.recent, filled, -1)
  counts = state.counts.astype(mean.dtype)
  bonus = jnp.sqrt(2 * jnp.log(jnp.sum(counts) + 1) / (counts + 1))
  return mean + exploration * bonus


def ucb_weights(
    state: UcbState, *, temperature: Scalar = 0.1, exploration: Scalar = 1.0
) -> Float[Array, " D"]:
  """Chance of each source: softmax of the scores; uniform at the start.

  Raises:
    ValueError: if `temperature` is not positive.
  """
  checks.within(
      "ucb_weights", 0.0, low_open=True, temperature=temperature
  )
  scores = ucb_scores(state, exploration=exploration)
  return jax.nn.softmax(scores / temperature)


def draw_sources(
    key: Key[Array, ""], weights: Float[Array, " D"], num: int
) -> Int[Array, " N"]:
  """Draws `num` sources; `key` is consumed. Weight 0 is never drawn."""
  checks.at_least("draw_sources", 1, num=num)
  return jax.random.categorical(key, jnp.log(weights), shape=(num,))


def stage_at(
    step: Int[Array, ""] | int, boundaries: Sequence[int]
) -> Int[Array, ""]:
  """The stage of a step: how many boundaries it has reached.

  Raises:
    ValueError: if the boundaries do not rise.
  """
  _check_rising("stage_at", boundaries)
  edges = jnp.asarray(boundaries, jnp.int32)
  return jnp.sum(jnp.asarray(step, jnp.int32) >= edges, dtype=jnp.int32)


class StageState(NamedTuple):
  """Progress through stages that are left by merit.

  stage: 0 .. S-1.
  average: moving average of the accuracy in this stage, from its first value.
  steps: spent in this stage.
  """

  stage: Int[Array, ""]
  average: Float[Array, ""]
  steps: Int[Array, ""]


def stage_init() -> StageState:
  """The first stage, nothing done in it."""
  zero = jnp.zeros((), jnp.int32)
  return StageState(zero, jnp.zeros(()), zero)


def stage_update(
    state: StageState,
    accuracy: Float[Array, ""],
    *,
    num_stages: int,
    threshold: Scalar,
    decay: Scalar = 0.9,
    min_steps: int = 1,
    max_steps: int | None = None,
) -> StageState:
  """Goes on to the next stage when this one is mastered, or has lasted.

  Args:
    state: before.
    accuracy: of the last step in this stage; NaN (nothing known) counts as a
      step and leaves the average.
    num_stages: S; the last one is never left (static).
    threshold: average accuracy at which a stage is left.
    decay: of the moving average, per step.
    min_steps: a stage lasts at least as long.
    max_steps: and at most; None sets no limit.

  Raises:
    ValueError: if a number is out of range.
  """
  where = "stage_update"
  checks.at_least(where, 1, num_stages=num_stages, min_steps=min_steps)
  checks.probability(where, decay=decay)
  known = jnp.isfinite(accuracy)
  first = state.steps == 0
  moved = decay * state.average + (1 - decay) * accuracy
  moved = jnp.where(first, accuracy, moved)
  average = jnp.where(known, moved, state.average)
  steps = state.steps + 1
  leave = (average >= threshold) & (steps >= min_steps)
  if max_steps is not None:
    checks.at_least(where, min_steps, max_steps=max_steps)
    leave |= steps >= max_steps
  leave &= state.stage < num_stages - 1
  fresh = stage_init()._replace(stage=state.stage + 1)
  stay = StageState(state.stage, average, steps)
  return jax.tree.map(lambda a, b: jnp.where(leave, a, b), fresh, stay)


def stage_weights(
    stage: Int[Array, ""], table: Float[Array, "S D"]
) -> Float[Array, " D"]:
  """Chance of each source in this stage: the row of `table`, normalised."""
  row = table[jnp.clip(stage, 0, table.shape[0] - 1)]
  return masking.safe_divide(row, jnp.sum(row))


def _check_rising(where, boundaries):
  rising = all(a < b for a, b in zip(boundaries, boundaries[1:]))
  if not rising:
    raise ValueError(f"{where}: boundaries must rise, got {boundaries}.")
