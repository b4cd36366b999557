"""Papers with advantages on two levels: whole samples, and their steps.

`step_ids` names the step of each token, 0 .. K-1 (-1: none). The other
arguments are explained in `recipes.policy_gradient`.
"""

from collections.abc import Callable
from typing import Unpack

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.advantages import group, placement, process
from rewardjax.core import masking, reduction
from rewardjax.core.masking import Mean
from rewardjax.recipes.credit import Credit, credit_of, credited_tokens
from rewardjax.recipes.losses import Anchor, clipped, policy_loss
from rewardjax.reward_models import process as reward_models
from rewardjax.rewards import likelihood
from rewardjax.types import Reward, Rollouts, Scalar

LossAndMetrics = tuple[Mean, dict[str, Mean]]
Tokens = Float[Array, "B G T"]
StepIds = Int[Array, "B G T"]
StepRewards = Float[Array, "B G K"]
StepMask = Bool[Array, "B G K"]


def two_level_credit(
    rollouts: Rollouts,
    reward: Reward,
    step_rewards: StepRewards,
    step_ids: StepIds,
    *,
    step_mask: StepMask | None = None,
    weight: Scalar = 1.0,
    estimator: Callable[..., Array] = group.leave_one_out,
) -> Credit:
  """Advantage of the sample plus that of the token's step.

  Args:
    rollouts: whole groups.
    reward: of the outcome; invalid samples are left out with their steps.
    step_rewards: any units; standardised over all steps of the prompt.
    step_ids: the step of each token; tokens of no step have the outcome's.
    step_mask: True for steps with a score; None means all.
    weight: of the advantages of steps.
    estimator: of both levels (static).
  """
  mask = credited_tokens(rollouts, reward)
  outcome, steps = process.two_level(
      *(reward.value, step_rewards), *(reward.valid, step_mask),
      weight=weight, estimator=estimator,
  )
  advantages = placement.every(steps, step_ids, mask, step_mask)
  return Credit(outcome[..., None] + advantages, mask)


def oprl_credit(
    rollouts: Rollouts,
    reward: Reward,
    *,
    process_log_probs: Tokens,
    step_ids: StepIds,
    num_steps: int,
    coefficient: Scalar = 0.05,
    weight: Scalar = 1.0,
    estimator: Callable[..., Array] = group.leave_one_out,
) -> Credit:
  """Implicit step rewards and the outcome on two levels: `oprl`'s credit."""
  mask = credited_tokens(rollouts, reward)
  steps = likelihood.implicit_step_rewards(
      process_log_probs, rollouts.log_probs, step_ids, mask,
      coefficient=coefficient, num_steps=num_steps,
  )
  return two_level_credit(
      rollouts, reward, steps, step_ids,
      step_mask=present_steps(step_ids, mask, num_steps=num_steps),
      weight=weight, estimator=estimator,
  )


def present_steps(
    step_ids: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    *,
    num_steps: int,
) -> Bool[Array, "*batch K"]:
  """True for steps that have a token (static K = `num_steps`)."""
  steps = jnp.arange(num_steps).reshape((1,) * step_ids.ndim + (-1,))
  return jnp.any((step_ids[..., None] == steps) & mask[..., None], axis=-2)


def oprl(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    process_log_probs: Tokens,
    step_ids: StepIds,
    num_steps: int,
    coefficient: Scalar = 0.05,
    weight: Scalar = 1.0,
    estimator: Callable[..., Array] = group.leave_one_out,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """Leave-one-out advantages of outcomes and of implicit step rewards.

  Credit: `oprl_credit`. The reward model of steps is a language model, trained
  on the same batches by `oprl_reward_loss`, after the policy.

  Args:
    log_probs: see `recipes.policy_gradient`, as the next two.
    rollouts: whole groups; their log-probs are the reference of the implicit
      rewards.
    reward: of the outcome.
    process_log_probs: of the sampled tokens under the reward model, held.
    step_ids: the step of each token.
    num_steps: K (static).
    coefficient: beta, reward units per nat.
    weight: of the advantages of steps.
    estimator: of both levels (static); a standardising one frees the steps
      from the scale of `coefficient`.
    clip_low: of the token ratio.
    clip_high: of the token ratio.
    **anchor: of the KL loss.

  References:
    "Online Process Reward Learning for Agentic Reinforcement Learning"
      (OPRL, iStar).
  """
  credit = credit_of(
      rollouts, reward, oprl_credit,
      process_log_probs=process_log_probs, step_ids=step_ids,
      num_steps=num_steps, coefficient=coefficient, weight=weight,
      estimator=estimator,
  )
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.sequence_mean, **anchor
  )


def oprl_reward_loss(
    process_log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward,
    *,
    step_ids: StepIds,
    num_steps: int,
    coefficient: Scalar = 0.05,
    threshold: Scalar = 0.5,
    reduction: reward_models.Reduction = "mean",
) -> Mean:
  """Prefers trajectories that succeeded, by their implicit step rewards.

  Args:
    process_log_probs: under the reward model in training; carries gradient.
    rollouts: whole groups.
    reward: of the outcome; above `threshold` is a success.
    step_ids: the step of each token.
    num_steps: K (static).
    coefficient: beta, reward units per nat.
    threshold: between failure and success.
    reduction: of a trajectory's steps (static).
  """
  mask = credited_tokens(rollouts, reward)
  scores = likelihood.implicit_step_rewards(
      process_log_probs, rollouts.log_probs, step_ids, mask,
      coefficient=coefficient, num_steps=num_steps,
  )
  wins = masking.fill_masked(*reward) > threshold
  present = present_steps(step_ids, mask, num_steps=num_steps)
  return reward_models.trajectory_preference_loss(
      scores, wins, reward.valid, present, reduction=reduction
  )


def thought_credit(
    rollouts: Rollouts,
    reward: Reward,
    *,
    labels: Bool[Array, "B G K"],
    step_ids: StepIds,
    step_mask: StepMask | None = None,
    weight: Scalar = 1.0,
    success_rate: Float[Array, " B"] | None = None,
) -> Credit:
  """Standardised outcomes plus standardised thoughts: `tp_grpo`'s credit."""
  thoughts = process.group_thoughts(labels, step_mask)
  rewards = process.thought_rewards(
      thoughts.labels, masking.fill_masked(*reward), thoughts.mask,
      reward.valid, success_rate=success_rate,
  )
  num_steps = labels.shape[-1]
  inside = (step_ids >= 0) & (step_ids < num_steps)
  ids = jnp.clip(step_ids, 0, num_steps - 1)
  ids = jnp.take_along_axis(thoughts.ids, ids, axis=-1)
  return two_level_credit(
      rollouts, reward, rewards, jnp.where(inside, ids, -1),
      step_mask=process.scored_thoughts(thoughts.mask),
      weight=weight, estimator=group.standardized,
  )


def tp_grpo(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    labels: Bool[Array, "B G K"],
    step_ids: StepIds,
    step_mask: StepMask | None = None,
    weight: Scalar = 1.0,
    success_rate: Float[Array, " B"] | None = None,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """GRPO with rewards of thoughts; the last thought keeps the outcome's.

  Credit: `thought_credit`. Samples may be used again: the ratio is to the
  policy that drew them.

  Args:
    log_probs: see `recipes.policy_gradient`, as the next two.
    rollouts: whole groups.
    reward: of the outcome, 0 or 1.
    labels: True for steps judged right, such as `rewards.agreement.unrevised`.
    step_ids: the step of each token.
    step_mask: True for real steps.
    weight: of the advantages of thoughts; 0 is GRPO.
    success_rate: of each prompt; None takes it from the group.
    clip_low: of the token ratio.
    clip_high: of the token ratio.
    **anchor: of the KL loss.

  References:
    "Good Learners Think Their Thinking" (TP-GRPO).
  """
  credit = credit_of(
      rollouts, reward, thought_credit,
      labels=labels, step_ids=step_ids, step_mask=step_mask,
      weight=weight, success_rate=success_rate,
  )
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.sequence_mean, **anchor
  )
