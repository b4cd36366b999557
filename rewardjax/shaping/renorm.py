"""Scores of steps and an outcome, on one scale; K steps, the last axis.

Three ways to let neither dominate. Which of them is the paper's own ReNorm
could not be checked; `anchored_steps` is what its description fits best.

References:
  "Hybrid Reward Normalization for Process-supervised Non-verifiable Agentic
    Tasks" (PPR, ReNorm).
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar

Steps = Float[Array, "*batch K"]
StepMask = Bool[Array, "*batch K"]


def _prepare(where, scores, outcome, mask):
  checks.same_shape(where, scores=scores, mask=mask)
  checks.same_shape(where, outcome=outcome, first_step=scores[..., 0])
  mask = jnp.ones(scores.shape, bool) if mask is None else mask
  outcome = masking.as_accumulator(outcome)
  return masking.fill_masked(scores, mask), outcome[..., None], mask


def _at_last(outcome: Array, mask: Array) -> Array:
  """The outcome at the last real step, 0 elsewhere."""
  spread = jnp.broadcast_to(outcome, mask.shape)
  return masking.fill_masked(spread, masking.last_valid(mask))


def anchored_steps(
    scores: Steps,
    outcome: Float[Array, "*batch"],
    mask: StepMask | None = None,
) -> Steps:
  """score + outcome - 1: no step pays unless the outcome is right.

  With scores in [0, 1] and outcomes 0 or 1, rewards are in [0, 1] after a
  success and in [-1, 0] after a failure. Their sum grows with the number of
  steps: compare means.

  Args:
    scores: of steps, in [0, 1].
    outcome: of the whole sample, 0 or 1.
    mask: True for real steps; None means all.

  Returns:
    Rewards of steps, float32 or wider; 0 where masked.

  Gradient: flows through `scores` and `outcome`.

  Raises:
    ValueError: if the shapes do not fit.
  """
  scores, outcome, mask = _prepare("anchored_steps", scores, outcome, mask)
  return masking.fill_masked(scores + outcome - 1, mask)


def centered_steps(
    scores: Steps,
    outcome: Float[Array, "*batch"],
    mask: StepMask | None = None,
) -> Steps:
  """score less the mean of its sample, and the outcome at the last step.

  The scores then sum to 0 and the rewards to the outcome: they say where the
  credit goes, not how much there is.

  Args: as `anchored_steps`; any scale.

  Gradient: flows through `scores` and `outcome`.
  """
  scores, outcome, mask = _prepare("centered_steps", scores, outcome, mask)
  mean = masking.masked_mean(scores, mask, -1, keepdims=True)
  return masking.fill_masked(scores - mean, mask) + _at_last(outcome, mask)


def standardized_steps(
    scores: Float[Array, "*batch G K"],
    outcome: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G K"] | None = None,
    *,
    epsilon: Scalar = 1e-8,
) -> Float[Array, "*batch G K"]:
  """Scores whitened over the steps of a prompt; whitened outcome at the end.

  Args:
    scores: of steps, any scale.
    outcome: of the samples, any scale. A sample without a real step takes no
      part.
    mask: True for real steps; None means all.
    epsilon: added to both variances.

  Returns:
    Unitless rewards of steps, float32 or wider; 0 where masked.

  Gradient: flows through `scores` and `outcome`.

  Raises:
    ValueError: if the shapes do not fit.
  """
  scores, outcome, mask = _prepare("standardized_steps", scores, outcome, mask)
  process = masking.masked_whiten(scores, mask, (-2, -1), epsilon=epsilon)
  present = jnp.any(mask, axis=-1)
  outcome = masking.masked_whiten(
      outcome[..., 0], present, -1, epsilon=epsilon
  )
  return process + _at_last(outcome[..., None], mask)
