"""Where a reward lands in time; T tokens, K steps, both last axes.

Placed on valid tokens only, so that a score never sits on padding. Steps are
named by `step_ids`, one per token, 0 .. K-1; any other id belongs to no step.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking, statistics


def place_last(
    rewards: Float[Array, "*batch"], mask: Bool[Array, "*batch T"]
) -> Float[Array, "*batch T"]:
  """Puts each reward on the last valid token of its row, 0 elsewhere.

  Args:
    rewards: one scalar per sequence, in reward units.
    mask: True on sampled tokens. A row without any loses its reward.

  Gradient: flows through `rewards` of rows that have a token.
  """
  if mask.shape[:-1] != rewards.shape:
    raise ValueError(
        "place_last: mask must be [*batch, T] for rewards [*batch], got "
        f"{mask.shape} and {rewards.shape}."
    )
  placed = jnp.broadcast_to(rewards[..., None], mask.shape)
  return masking.fill_masked(placed, masking.last_valid(mask))


def _segments(step_rewards, step_ids, mask, step_mask):
  """Flat segment ids, one block of K per row; out of range if not placed."""
  where = "placement"
  checks.same_shape(where, step_ids=step_ids, mask=mask)
  checks.same_shape(where, step_rewards=step_rewards, step_mask=step_mask)
  if step_rewards.shape[:-1] != step_ids.shape[:-1]:
    raise ValueError(
        f"{where}: step_rewards must be [*batch, K] for step_ids [*batch, T], "
        f"got {step_rewards.shape} and {step_ids.shape}."
    )
  k = step_rewards.shape[-1]
  rows = jnp.arange(step_ids.size // step_ids.shape[-1])
  rows = rows.reshape(step_ids.shape[:-1] + (1,)).astype(step_ids.dtype)
  valid = mask & (step_ids >= 0) & (step_ids < k)
  if step_mask is not None:
    ids = jnp.clip(step_ids, 0, k - 1)
    valid = valid & jnp.take_along_axis(step_mask, ids, axis=-1)
  return jnp.where(valid, rows * k + step_ids, -1), valid


def _gather(per_segment, segments, valid):
  """Each placed token's entry of a flat array over segments, 0 elsewhere."""
  return masking.fill_masked(per_segment[jnp.maximum(segments, 0)], valid)


def every(
    step_rewards: Float[Array, "*batch K"],
    step_ids: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    step_mask: Bool[Array, "*batch K"] | None = None,
) -> Float[Array, "*batch T"]:
  """Gives each token the reward of its step.

  Args:
    step_rewards: in reward units, padded to K.
    step_ids: the step of each token.
    mask: True on sampled tokens.
    step_mask: True for steps whose reward is known; None means all.

  Gradient: flows through `step_rewards`.
  """
  segments, valid = _segments(step_rewards, step_ids, mask, step_mask)
  return _gather(step_rewards.reshape(-1), segments, valid)


def step_end(
    step_rewards: Float[Array, "*batch K"],
    step_ids: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    step_mask: Bool[Array, "*batch K"] | None = None,
) -> Float[Array, "*batch T"]:
  """Puts each reward on the last valid token of its step, 0 elsewhere.

  Args: as `every`. A step without a token loses its reward.

  Gradient: flows through `step_rewards`.
  """
  segments, valid = _segments(step_rewards, step_ids, mask, step_mask)
  positions = jnp.broadcast_to(jnp.arange(mask.shape[-1]), mask.shape)
  last = jax.ops.segment_max(
      positions.reshape(-1), segments.reshape(-1), step_rewards.size
  )
  ends = valid & (last[jnp.maximum(segments, 0)] == positions)
  return _gather(step_rewards.reshape(-1), segments, ends)


def read_ends(
    values: Float[Array, "*batch T"],
    step_ids: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    *,
    num_steps: int,
) -> Float[Array, "*batch K"]:
  """The value at the last valid token of each step: `step_end` read back.

  Args:
    values: per token, such as what a head says there.
    step_ids: the step of each token.
    mask: True on sampled tokens.
    num_steps: K (static).

  Returns:
    Float32 or wider; 0 for steps without a token.

  Gradient: flows through `values` at the ends of steps.
  """
  checks.same_shape("read_ends", values=values, mask=mask)
  one = jnp.ones((*mask.shape[:-1], num_steps))
  ends = step_end(one, step_ids, mask) > 0
  return statistics.step_sums(values, step_ids, ends, num_steps=num_steps)


def spread(
    step_rewards: Float[Array, "*batch K"],
    step_ids: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    step_mask: Bool[Array, "*batch K"] | None = None,
) -> Float[Array, "*batch T"]:
  """Divides each reward evenly over the valid tokens of its step.

  Args: as `every`. A step without a token loses its reward.

  Gradient: flows through `step_rewards`.
  """
  segments, valid = _segments(step_rewards, step_ids, mask, step_mask)
  dtype = masking.as_accumulator(step_rewards).dtype
  tokens = jax.ops.segment_sum(
      valid.reshape(-1).astype(dtype), segments.reshape(-1), step_rewards.size
  )
  shares = step_rewards.reshape(-1) / jnp.maximum(tokens, 1)
  return _gather(shares, segments, valid)


def segment_to_token_rewards(
    scores: Float[Array, "*batch K M"],
    ends: Int[Array, "*batch M"],
    mask: Bool[Array, "*batch M"] | None = None,
    *,
    weights: Float[Array, " K"],
    num_tokens: int,
) -> Float[Array, "*batch T"]:
  """sum_k w_k score_k of each segment, on the segment's last token.

  Undiscounted, a sequence earns what the same sum at its end would give it;
  earlier tokens are no longer charged for later segments' luck.

  Args:
    scores: of K kinds for M segments, in reward units.
    ends: index of each segment's last token; segments that end at one token
      add up, one that ends outside 0 .. T-1 is lost.
    mask: True for real segments; None means all.
    weights: of each kind, any sign.
    num_tokens: T (static).

  Returns:
    Rewards, float32 or wider.

  Gradient: flows through `scores` and `weights`.

  Raises:
    ValueError: if shapes do not fit.

  References:
    "FGAIF: Aligning Large Vision-Language Models with Fine-grained AI
      Feedback".
  """
  where = "segment_to_token_rewards"
  checks.same_shape(where, ends=ends, mask=mask, segments=scores[..., 0, :])
  if weights.shape != scores.shape[-2:-1]:
    raise ValueError(
        f"{where}: weights must be [K] for scores [*batch, K, M], got "
        f"{weights.shape} for {scores.shape}."
    )
  kinds = jnp.ones(scores.shape, bool) if mask is None else mask[..., None, :]
  kinds = jnp.broadcast_to(kinds, scores.shape)
  scores = masking.fill_masked(scores, kinds)
  weights = masking.as_accumulator(weights)
  weights = weights.reshape((1,) * (scores.ndim - 2) + (-1, 1))
  total = jnp.sum(weights * scores, axis=-2)
  return statistics.step_sums(total, ends, mask, num_steps=num_tokens)
