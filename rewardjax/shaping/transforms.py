"""Rewards of steps and scores, bounded, graded, gated or mixed.

G samples of one prompt, K steps of one sample, padded; K is the last axis.
All are plain differentiable maps, constant where a threshold decides.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking
from rewardjax.types import Scalar

Steps = Float[Array, "*batch K"]
StepMask = Bool[Array, "*batch K"]


def _valid(x: Array, mask: Array | None) -> Array:
  return jnp.ones(x.shape, bool) if mask is None else mask


def clip_steps(
    rewards: Steps, mask: StepMask | None = None, *, threshold: Scalar
) -> Steps:
  """min(r - threshold, 0): a step can only cost.

  No sum over steps exceeds 0, so that more steps, however good, never pay.

  Args:
    rewards: of steps, in reward units.
    mask: True for real steps; None means all.
    threshold: what a good step reaches, such as the mean score.

  Returns:
    Rewards of steps, float32 or wider, <= 0; 0 where masked.

  Gradient: 1 below the threshold, 0 above it and where masked.

  Raises:
    ValueError: if `mask` does not have the shape of `rewards`.

  References:
    Gao et al., "On Designing Effective RL Reward at Training Time for LLM
      Reasoning", 2024 (Clip).
  """
  checks.same_shape("clip_steps", rewards=rewards, mask=mask)
  # Filled first: the gradient of a masked NaN would be NaN.
  low = jnp.minimum(masking.fill_masked(rewards, mask) - threshold, 0.0)
  return masking.fill_masked(low, mask)


def delta_steps(rewards: Steps, mask: StepMask | None = None) -> Steps:
  """r_k - r_(k+1), and for the last but one step r_k, for the last one 0.

  The undiscounted return from step k on is exactly r_k, whatever is inserted
  after it: repeating good steps pays nothing. The last step is left to the
  outcome. A discount below 1, or rewards whitened afterwards, undo this.

  Args:
    rewards: of steps, in reward units.
    mask: True for real steps; "next" is the next real one. None means all.

  Returns:
    Rewards of steps, float32 or wider; their sum is r of the first step, or
    0 for a row of one step. 0 where masked.

  Gradient: flows through `rewards`, exactly 0 to the last step.

  Raises:
    ValueError: if `mask` does not have the shape of `rewards`.

  References:
    Gao et al., "On Designing Effective RL Reward at Training Time for LLM
      Reasoning", 2024 (Delta).
  """
  checks.same_shape("delta_steps", rewards=rewards, mask=mask)
  mask = _valid(rewards, mask)
  # The last step counts as 0, for itself and for the one before it.
  kept = masking.fill_masked(rewards, mask & ~masking.last_valid(mask))
  places = jnp.where(mask, jnp.arange(mask.shape[-1]), mask.shape[-1])
  following = jnp.flip(jnp.minimum.accumulate(jnp.flip(places, -1), -1), -1)
  pad = jnp.full((*mask.shape[:-1], 1), mask.shape[-1], following.dtype)
  following = jnp.concatenate([following[..., 1:], pad], -1)
  padded = jnp.concatenate([kept, jnp.zeros_like(kept[..., :1])], -1)
  after = jnp.take_along_axis(padded, following, axis=-1)
  return masking.fill_masked(kept - after, mask)


def gate_steps(
    outcome: Float[Array, "*batch"],
    rewards: Steps,
    mask: StepMask | None = None,
    *,
    threshold: Scalar,
) -> Steps:
  """The rewards of steps where the outcome reaches `threshold`, else 0.

  Penalties of steps are gated as well: below the threshold only the outcome
  speaks. It is known when the trajectory has ended, not before.

  Args:
    outcome: of the whole trajectory, in reward units.
    rewards: of its steps, in reward units.
    mask: True for real steps; None means all.
    threshold: reached by outcomes >= it; -inf always, +inf never.

  Returns:
    Rewards of steps, float32 or wider; 0 where masked.

  Gradient: flows through `rewards` where the gate is open.

  Raises:
    ValueError: if the shapes do not fit.

  References:
    "Stabilizing Long-term Multi-turn Reinforcement Learning with Gated
      Rewards" (G-RA).
  """
  checks.same_shape("gate_steps", rewards=rewards, mask=mask)
  checks.same_shape("gate_steps", outcome=outcome, first_step=rewards[..., 0])
  is_open = (outcome >= threshold)[..., None]
  return masking.fill_masked(rewards, _valid(rewards, mask) & is_open)


def gate(
    outcome: Float[Array, "*batch"],
    rewards: Steps,
    mask: StepMask | None = None,
    *,
    threshold: Scalar,
) -> Float[Array, "*batch"]:
  """outcome + [outcome >= threshold] * sum of the rewards of steps.

  Args: as `gate_steps`.

  Gradient: flows through `outcome`, and `rewards` where the gate is open.
  """
  gated = gate_steps(outcome, rewards, mask, threshold=threshold)
  return masking.as_accumulator(outcome) + jnp.sum(gated, axis=-1)


def gate_levels(
    levels: Float[Array, "*batch L"], *, thresholds: Float[Array, " H"]
) -> Float[Array, "*batch"]:
  """Sums levels, each only if all higher ones reach their thresholds.

  Args:
    levels: rewards from the highest level to the lowest, in reward units.
    thresholds: of all levels but the lowest, H = L - 1.

  Gradient: flows through the levels that count.

  Raises:
    ValueError: unless there is one threshold less than levels.
  """
  if thresholds.shape[-1] != levels.shape[-1] - 1:
    raise ValueError(
        "gate_levels: thresholds must be one fewer than levels, got "
        f"{thresholds.shape[-1]} for {levels.shape[-1]}."
    )
  levels = masking.as_accumulator(levels)
  # As a row: leading axes of `levels` are free.
  row = thresholds.reshape((1,) * (levels.ndim - 1) + (-1,))
  reached = jnp.cumprod((levels[..., :-1] >= row).astype(int), axis=-1) > 0
  reached = jnp.concatenate([jnp.ones_like(levels[..., :1], bool), reached], -1)
  return masking.masked_sum(levels, reached, -1)


def tier(
    scores: Float[Array, "*batch"],
    *,
    edges: Float[Array, " E"],
    values: Float[Array, " V"],
) -> Float[Array, "*batch"]:
  """The value of the zone a score falls in; a score on an edge is above it.

  Args:
    scores: any scale, but the same for all prompts: a scale relative to the
      batch does not keep the order between prompts.
    edges: ascending, E of them.
    values: of the E + 1 zones from low to high, in reward units.

  Gradient: flows through `values` only.

  Raises:
    ValueError: unless there is one value more than edges.
  """
  if values.shape[-1] != edges.shape[-1] + 1:
    raise ValueError(
        "tier: values must be one more than edges, got "
        f"{values.shape[-1]} for {edges.shape[-1]}."
    )
  return values[jnp.searchsorted(edges, scores, side="right")]


def quantize(
    scores: Float[Array, "*batch"], *, num_tiers: int
) -> Float[Array, "*batch"]:
  """ceil(num_tiers * s) / num_tiers: graded rewards without the noise inside.

  Rounds up, so that any score above 0 earns something and near misses are
  kept apart from failures.

  Args:
    scores: in [0, 1]; clipped to it.
    num_tiers: K (static); 1 is a pass above 0, many keep the score itself.

  Gradient: 0, it is a step function.

  Raises:
    ValueError: if `num_tiers` is less than 1.

  References:
    "SSL: Sweet Spot Learning" (tiers of a graded score).
  """
  checks.at_least("quantize", 1, num_tiers=num_tiers)
  scores = jnp.clip(masking.as_accumulator(scores), 0.0, 1.0)
  return jnp.ceil(scores * num_tiers) / num_tiers


def progress_tiers(
    matched: Int[Array, "*batch"],
    total: Int[Array, "*batch"],
    *,
    num_tiers: int,
) -> Float[Array, "*batch"]:
  """`quantize` of matched / total, in exact integers; 0 where total is 0.

  Args:
    matched: parts that are right, 0 .. total.
    total: parts there are.
    num_tiers: K (static).

  Raises:
    ValueError: if shapes differ or `num_tiers` is less than 1.
  """
  checks.same_shape("progress_tiers", matched=matched, total=total)
  checks.at_least("progress_tiers", 1, num_tiers=num_tiers)
  safe = jnp.maximum(total, 1)
  tiers = -((-num_tiers * jnp.clip(matched, 0, total)) // safe)
  return jnp.where(total > 0, tiers, 0).astype(jnp.float32) / num_tiers


def gaussian_proximity(
    distances: Float[Array, "*batch"], *, width: Scalar
) -> Float[Array, "*batch"]:
  """exp(-d^2 / (2 width^2)): 1 at the target, in any unit of distance.

  Gradient: flows through `distances`.

  Raises:
    ValueError: if `width` is not positive.
  """
  checks.within("gaussian_proximity", 0.0, low_open=True, width=width)
  scaled = masking.as_accumulator(distances) / width
  return jnp.exp(-0.5 * jnp.square(scaled))


def calibrated_mix(
    scores: Float[Array, "*batch"],
    form: Float[Array, "*batch"],
    *,
    threshold: Scalar,
    weight: Scalar,
) -> Float[Array, "*batch"]:
  """score + weight * form where score < threshold, else the score alone.

  A low score of a reward model may be a false negative; the form of the
  reasoning then speaks for the sample.

  Args:
    scores: of a reward model, in reward units.
    form: of the reasoning, such as `rewards.patterns.form_score`.
    threshold: below it the score is in doubt.
    weight: of the form, in reward units.

  Gradient: flows through `scores`, and `form` where it counts.

  Raises:
    ValueError: if shapes differ.

  References:
    Lv et al., "The Climb Carves Wisdom Deeper Than the Summit", 2025,
      arXiv:2505.22653.
  """
  checks.same_shape("calibrated_mix", scores=scores, form=form)
  scores = masking.as_accumulator(scores)
  doubted = scores < threshold
  # Not `form * doubted`: a form that was not computed may be NaN.
  return scores + weight * masking.fill_masked(form, doubted)
