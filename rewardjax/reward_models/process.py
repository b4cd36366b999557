"""Rewards of steps: from labels of steps, and from what trajectories achieved.

K steps, the last axis. A step is labelled up to the first error and no
further: what follows an error is neither right nor wrong.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, links, masking
from rewardjax.core.masking import Mean

Reduction = Literal["mean", "sum"]


def trajectory_preference_loss(
    step_scores: Float[Array, "*batch G K"],
    wins: Bool[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
    step_mask: Bool[Array, "*batch G K"] | None = None,
    *,
    reduction: Reduction = "mean",
) -> Mean:
  """-log sigmoid(Q+ - Q-) over all pairs of a success and a failure.

  Pairs are made within a prompt; Q is the mean or the sum of the scores of
  the steps of a trajectory. A constant added to all Q changes nothing.

  Args:
    step_scores: of the model in training, such as `implicit_step_rewards`.
    wins: True for successes; a graded outcome needs a threshold first.
    mask: True for trajectories whose outcome is known; None means all.
    step_mask: True for real steps; None means all.
    reduction: "sum" is the trajectory's score in the derivation, "mean" keeps
      long trajectories from saturating the loss (static).

  Returns:
    The total over pairs and their number; without a pair both are 0.

  Gradient: flows through `step_scores`; 0 where masked.

  Raises:
    ValueError: if shapes differ or `reduction` is unknown.

  References:
    "Online Process Reward Learning for Agentic Reinforcement Learning"
      (OPRL, iStar).
  """
  where = "trajectory_preference_loss"
  checks.one_of(where, get_args(Reduction), reduction=reduction)
  checks.same_shape(where, step_scores=step_scores, step_mask=step_mask)
  checks.same_shape(where, wins=wins, mask=mask, rows=step_scores[..., 0])
  mask = jnp.ones(wins.shape, bool) if mask is None else mask
  known = jnp.broadcast_to(mask[..., None], step_scores.shape)
  known = known if step_mask is None else known & step_mask
  reduce = masking.masked_sum if reduction == "sum" else masking.masked_mean
  totals = reduce(step_scores, known, -1)
  margins = totals[..., :, None] - totals[..., None, :]
  present = jnp.any(known, axis=-1)
  won, lost = wins & present, ~wins & present
  pairs = won[..., :, None] & lost[..., None, :]
  return Mean.of(links.logistic(margins), pairs)


def first_error(
    labels: Bool[Array, "*batch K"],
    mask: Bool[Array, "*batch K"] | None = None,
) -> Int[Array, "*batch"]:
  """Index of the first real step that is wrong; K if none is.

  Args:
    labels: True for right steps.
    mask: True for real steps; None means all.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("first_error", labels=labels, mask=mask)
  wrong = ~labels if mask is None else ~labels & mask
  places = jnp.where(wrong, jnp.arange(labels.shape[-1]), labels.shape[-1])
  return jnp.min(places, axis=-1, initial=labels.shape[-1])


def mask_after_first_error(
    labels: Bool[Array, "*batch K"],
    mask: Bool[Array, "*batch K"] | None = None,
) -> Bool[Array, "*batch K"]:
  """True for real steps up to the first wrong one, which is kept.

  Args: as `first_error`.

  Raises:
    ValueError: if shapes differ.

  References:
    "Rethinking Reward Models for Multi-Domain Test-Time Scaling" (labels
      of process reward models).
  """
  ends = first_error(labels, mask)[..., None]
  places = jax.lax.broadcasted_iota(ends.dtype, labels.shape, labels.ndim - 1)
  kept = places <= ends
  return kept if mask is None else kept & mask


def prm_loss(
    logits: Float[Array, "*batch K"],
    targets: Float[Array, "*batch K"],
    mask: Bool[Array, "*batch K"] | None = None,
) -> Float[Array, "*batch K"]:
  """-t log sigmoid(z) - (1 - t) log sigmoid(-z), per step.

  A readout over the two tokens "right" and "wrong" has z = the difference of
  their logits.

  Args:
    logits: z of each step.
    targets: in [0, 1]; soft ones are probabilities that the step is right.
    mask: True for labelled steps, such as `mask_after_first_error`; None
      means all.

  Returns:
    Nats, float32 or wider, 0 where masked; reduce with the same mask.

  Gradient: sigmoid(z) - t through `logits`; targets are held.

  Raises:
    ValueError: if shapes differ.

  References:
    "Rethinking Reward Models for Multi-Domain Test-Time Scaling".
    "SCAN: Self-Denoising Monte Carlo Annotation" (soft targets).
  """
  where = "prm_loss"
  checks.same_shape(where, logits=logits, targets=targets, mask=mask)
  z = masking.fill_masked(logits, mask)
  t = jax.lax.stop_gradient(masking.fill_masked(targets, mask))
  losses = t * links.logistic(z) + (1 - t) * links.logistic(-z)
  return masking.fill_masked(losses, mask)


def orm_loss(
    logits: Float[Array, "*batch K"],
    correct: Bool[Array, "*batch"],
    mask: Bool[Array, "*batch K"] | None = None,
) -> Float[Array, "*batch"]:
  """Cross-entropy of the outcome and the logit of the last real step.

  Args:
    logits: of each step; only the last one is read.
    correct: whether the answer is right.
    mask: True for real steps; None means all.

  Returns:
    Nats per chain, float32 or wider; 0 for a chain without steps, which must
    not count: reduce with `jnp.any(mask, -1)`.

  Gradient: flows through the last real logit of each chain, 0 elsewhere.

  Raises:
    ValueError: if shapes do not fit.

  References:
    "Rethinking Reward Models for Multi-Domain Test-Time Scaling".
  """
  where = "orm_loss"
  checks.same_shape(where, logits=logits, mask=mask)
  checks.same_shape(where, correct=correct, chains=logits[..., 0])
  mask = jnp.ones(logits.shape, bool) if mask is None else mask
  last = masking.last_valid(mask)
  targets = jnp.broadcast_to(correct[..., None], logits.shape)
  targets = targets.astype(masking.as_accumulator(logits).dtype)
  return jnp.sum(prm_loss(logits, targets, last), axis=-1)
