"""Rewards of steps, learned from what whole trajectories achieved."""

from typing import Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

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
