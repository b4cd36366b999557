"""Credit of steps inside samples that also have an outcome.

G samples of one prompt, K steps of one sample, padded. Bring the result to
tokens with `advantages.placement.every`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.advantages import group
from rewardjax.core import checks, masking
from rewardjax.types import Scalar

Estimator = Callable[[Array, Array], Array]


class TwoLevel(NamedTuple):
  """Advantages of whole samples, and of their steps; add them at the tokens.

  A step without a score has 0: only the outcome of its sample speaks for it.
  """

  outcome: Float[Array, "*batch G"]
  steps: Float[Array, "*batch G K"]


def _check(where, outcomes, mask, **steps):
  checks.same_shape(where, outcomes=outcomes, mask=mask)
  checks.same_shape(where, **steps)
  for name, x in steps.items():
    if x is not None and x.shape[:-1] != outcomes.shape:
      raise ValueError(
          f"{where}: {name} must be [*batch, G, K] for outcomes [*batch, G], "
          f"got {x.shape} for {outcomes.shape}."
      )


def two_level(
    outcomes: Float[Array, "*batch G"],
    step_rewards: Float[Array, "*batch G K"],
    mask: Bool[Array, "*batch G"] | None = None,
    step_mask: Bool[Array, "*batch G K"] | None = None,
    *,
    weight: Scalar = 1.0,
    estimator: Estimator = group.leave_one_out,
) -> TwoLevel:
  """One estimator for both levels: over samples, and over all steps of all.

  Every step of every sample of the prompt enters the statistics of steps.
  (A released implementation keeps one step a sample; ours keeps all.)

  Args:
    outcomes: of the samples, in reward units.
    step_rewards: of their steps, in any units.
    mask: True for samples whose outcome is known. An unknown one takes its
      steps with it.
    step_mask: True for real steps with a score; None means all.
    weight: of the advantages of steps.
    estimator: such as those of `advantages.group` (static).

  Returns:
    `TwoLevel`, float32 or wider; 0 where masked.

  Gradient: flows through `outcomes` and `step_rewards`.

  Raises:
    ValueError: if the shapes do not fit.

  References:
    "Online Process Reward Learning for Agentic Reinforcement Learning"
      (OPRL, iStar).
  """
  steps = dict(step_rewards=step_rewards, step_mask=step_mask)
  _check("two_level", outcomes, mask, **steps)
  mask = jnp.ones(outcomes.shape, bool) if mask is None else mask
  known = jnp.broadcast_to(mask[..., None], step_rewards.shape)
  known = known if step_mask is None else known & step_mask
  flat = lambda x: x.reshape(*x.shape[:-2], -1)
  steps = estimator(flat(step_rewards), flat(known))
  steps = weight * steps.reshape(step_rewards.shape)
  return TwoLevel(estimator(outcomes, mask), steps)


class Thoughts(NamedTuple):
  """Runs of equally labelled steps; at most as many as there are steps.

  ids: the thought of each step, -1 for padding.
  labels: of each thought, as those of its steps.
  mask: True for thoughts that exist.
  """

  ids: Int[Array, "*batch K"]
  labels: Bool[Array, "*batch K"]
  mask: Bool[Array, "*batch K"]


def group_thoughts(
    labels: Bool[Array, "*batch K"],
    mask: Bool[Array, "*batch K"] | None = None,
) -> Thoughts:
  """Merges consecutive steps of equal labels into thoughts.

  Args:
    labels: True for steps judged right.
    mask: True for real steps; those in between are skipped. None means all.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("group_thoughts", labels=labels, mask=mask)
  mask = jnp.ones(labels.shape, bool) if mask is None else mask
  axis = labels.ndim - 1
  places = jnp.where(mask, jnp.arange(labels.shape[-1]), -1)
  before = jax.lax.cummax(places, axis=axis)  # the last real step up to here
  start = jnp.full((*labels.shape[:-1], 1), -1, before.dtype)
  before = jnp.concatenate([start, before[..., :-1]], -1)
  earlier = jnp.take_along_axis(labels, jnp.maximum(before, 0), axis=-1)
  begins = mask & ((before < 0) | (labels != earlier))
  ids = jnp.where(mask, jnp.cumsum(begins, axis=-1) - 1, -1)
  one_hot = jax.nn.one_hot(ids, labels.shape[-1], dtype=bool)
  member = one_hot & mask[..., None]  # [*batch, step, thought]
  return Thoughts(
      ids,
      jnp.any(member & labels[..., None], axis=-2),
      jnp.any(member, axis=-2),
  )


def thought_rewards(
    labels: Bool[Array, "*batch G K"],
    outcomes: Float[Array, "*batch G"],
    thought_mask: Bool[Array, "*batch G K"],
    mask: Bool[Array, "*batch G"] | None = None,
    *,
    success_rate: Float[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch G K"]:
  """What a thought earns, given the outcome and how able the model is.

      label = outcome:           2 label - 1
      a slip in a right answer:  -p       tolerated while the model is weak
      a good thought in a wrong one: 1 - p

  with p the success rate of the prompt.

  Args:
    labels: True for thoughts judged right.
    outcomes: 0 or 1 per sample.
    thought_mask: True for thoughts that exist.
    mask: True for samples whose outcome is known; None means all.
    success_rate: p, in [0, 1]; None takes it from the known outcomes.

  Returns:
    Unitless, in [-1, 1], float32 or wider. 0 for padding, for samples of
    unknown outcome, and for the last thought: the answer has its outcome.

  Gradient: flows through `success_rate`.

  Raises:
    ValueError: if the shapes do not fit.

  References:
    "Good Learners Think Their Thinking" (TP-GRPO; the weights are ours).
  """
  thoughts = dict(labels=labels, thought_mask=thought_mask)
  _check("thought_rewards", outcomes, mask, **thoughts)
  mask = jnp.ones(outcomes.shape, bool) if mask is None else mask
  if success_rate is None:
    success_rate = masking.masked_mean(outcomes, mask, -1)
  p = success_rate[..., None, None]
  right = (masking.fill_masked(outcomes, mask) > 0.5)[..., None]
  agreeing = jnp.where(labels, 1.0, -1.0)
  mixed = jnp.where(labels, 1 - p, -p)
  rewards = jnp.where(labels == right, agreeing, mixed)
  counted = scored_thoughts(thought_mask) & mask[..., None]
  return masking.fill_masked(rewards, counted)


def scored_thoughts(
    thought_mask: Bool[Array, "*batch K"],
) -> Bool[Array, "*batch K"]:
  """All thoughts but the last one of each sample, which is its answer."""
  return thought_mask & ~masking.last_valid(thought_mask)
