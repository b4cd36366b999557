"""Papers that pay for the steps of a sample as well as for its outcome.

`step_ids` names the step of each token, 0 .. K-1 (-1: none); `step_rewards`
holds a score for each step, `step_mask` is True where there is one. The other
arguments are explained in `recipes.policy_gradient`.
"""

from collections.abc import Callable
from typing import TypedDict, Unpack

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.advantages import placement, temporal
from rewardjax.core import masking
from rewardjax.core.masking import Mean
from rewardjax.recipes import actor_critic
from rewardjax.recipes.credit import Credit, credit_of, credited_tokens
from rewardjax.recipes.losses import Anchor
from rewardjax.recipes.policy_gradient import grpo
from rewardjax.shaping import renorm, transforms
from rewardjax.types import Reward, Rollouts, Scalar

LossAndMetrics = tuple[Mean, dict[str, Mean]]
Tokens = Float[Array, "B G T"]
StepIds = Int[Array, "B G T"]
StepRewards = Float[Array, "B G K"]
StepMask = Bool[Array, "B G K"]


class Critic(TypedDict, total=False):
  """Keywords of PPO that pass through: see `actor_critic.ppo`."""

  behavior_values: Tokens | None
  reference_log_probs: Tokens | None
  clip_low: Scalar
  clip_high: Scalar
  value_clip: Scalar
  value_coefficient: Scalar


def step_credit(
    rollouts: Rollouts,
    reward: Reward,
    step_rewards: StepRewards,
    step_ids: StepIds,
    values: Tokens,
    *,
    step_mask: StepMask | None = None,
    discount: Scalar = 1.0,
    decay: Scalar = 0.95,
    whiten: bool = True,
) -> Credit:
  """Generalised advantages of rewards at the ends of steps and of the sample.

  Args:
    rollouts: any samples; groups play no role.
    reward: of the outcome, paid at the last token. Invalid samples are left
      out, their steps included.
    step_rewards: paid at the last token of each step.
    step_ids: the step of each token.
    values: of the critic before each token, when the batch was collected.
    step_mask: True for steps whose reward is known; None means all.
    discount: per token.
    decay: lambda.
    whiten: whether to whiten over all tokens of the batch (static).
  """
  mask = credited_tokens(rollouts, reward)
  rewards = placement.place_last(reward.value, mask)
  rewards += placement.step_end(step_rewards, step_ids, mask, step_mask)
  advantages, returns = temporal.gae(
      rewards, values, mask, discount=discount, decay=decay
  )
  if whiten:
    advantages = masking.masked_whiten(advantages, mask)
  return Credit(advantages, mask, returns, values)


def refined_credit(
    rollouts: Rollouts,
    reward: Reward,
    values: Tokens,
    *,
    step_rewards: StepRewards,
    step_ids: StepIds,
    step_mask: StepMask | None = None,
    threshold: Scalar | None = None,
    delta: bool = True,
    weight: Scalar = 1.0,
    **options,
) -> Credit:
  """Refined step scores beside the outcome: `reward_refinement`'s credit."""
  refined = masking.as_accumulator(step_rewards)
  if threshold is not None:
    refined = transforms.clip_steps(refined, step_mask, threshold=threshold)
  if delta:
    refined = transforms.delta_steps(refined, step_mask)
  return step_credit(
      rollouts, reward, weight * refined, step_ids, values,
      step_mask=step_mask, **options,
  )


def reward_refinement(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    values: Tokens,
    step_rewards: StepRewards,
    step_ids: StepIds,
    step_mask: StepMask | None = None,
    threshold: Scalar | None = None,
    delta: bool = True,
    weight: Scalar = 1.0,
    decay: Scalar = 0.95,
    **critic: Unpack[Critic],
) -> LossAndMetrics:
  """PPO on the outcome and on step scores that repetition cannot collect.

  Credit: `refined_credit`. Undiscounted: a discount would break the bound
  that Delta puts on the sum.

  Args:
    log_probs: see `recipes.policy_gradient`, as the next two.
    rollouts: samples made of steps.
    reward: of the outcome.
    values: see `actor_critic.ppo`, as `**critic`.
    step_rewards: of a process reward model.
    step_ids: the step of each token.
    step_mask: True for steps with a score.
    threshold: of Clip, such as the mean score; None does not clip (static).
    delta: whether to take differences (static).
    weight: of the refined scores.
    decay: lambda.
    **critic: the rest of PPO.

  References:
    Gao et al., "On Designing Effective RL Reward at Training Time for LLM
      Reasoning", 2024.
  """
  held = _held_values(values, critic)
  credit = credit_of(
      rollouts, reward, refined_credit, held,
      step_rewards=step_rewards, step_ids=step_ids, step_mask=step_mask,
      threshold=threshold, delta=delta, weight=weight, decay=decay,
  )
  return actor_critic.ppo(log_probs, rollouts, credit, values=values, **critic)


def _held_values(values, critic):
  behavior = critic.get("behavior_values")
  return values if behavior is None else behavior


def ppr_credit(
    rollouts: Rollouts,
    reward: Reward,
    values: Tokens,
    *,
    step_rewards: StepRewards,
    step_ids: StepIds,
    step_mask: StepMask | None = None,
    normalize: Callable[..., Array] = renorm.anchored_steps,
    **options,
) -> Credit:
  """Normalised step rewards, the outcome inside them: `ppr`'s credit.

  A sample of unknown outcome is left out of the statistics as well.
  """
  known = jnp.broadcast_to(reward.valid[..., None], step_rewards.shape)
  known = known if step_mask is None else known & step_mask
  outcome = masking.fill_masked(*reward)
  normalized = normalize(step_rewards, outcome, known)
  paid = Reward(jnp.zeros_like(outcome), reward.valid)
  return step_credit(
      rollouts, paid, normalized, step_ids, values, step_mask=known, **options
  )


def ppr(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    values: Tokens,
    step_rewards: StepRewards,
    step_ids: StepIds,
    step_mask: StepMask | None = None,
    normalize: Callable[..., Array] = renorm.anchored_steps,
    decay: Scalar = 0.95,
    **critic: Unpack[Critic],
) -> LossAndMetrics:
  """PPO on principle-based step scores that are tied to the outcome.

  Credit: `ppr_credit`. `reward` is the outcome, 0 or 1; `normalize` is one of
  `shaping.renorm` (static); the rest as in `reward_refinement`.

  References:
    "Hybrid Reward Normalization for Process-supervised Non-verifiable Agentic
      Tasks" (PPR).
  """
  held = _held_values(values, critic)
  credit = credit_of(
      rollouts, reward, ppr_credit, held,
      step_rewards=step_rewards, step_ids=step_ids, step_mask=step_mask,
      normalize=normalize, decay=decay,
  )
  return actor_critic.ppo(log_probs, rollouts, credit, values=values, **critic)


def gated_accumulation(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    step_rewards: StepRewards,
    threshold: Scalar,
    step_mask: StepMask | None = None,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """GRPO on the outcome plus, once it is good enough, the steps' rewards.

  Credit: `group_credit` of `gated_reward(reward, ...)`. With a threshold of
  -inf steps always count, with +inf never.

  References:
    "Stabilizing Long-term Multi-turn Reinforcement Learning with Gated
      Rewards" (G-RA).
  """
  if isinstance(reward, Reward):
    steps = dict(step_rewards=step_rewards, step_mask=step_mask)
    reward = gated_reward(reward, threshold=threshold, **steps)
  clips = dict(clip_low=clip_low, clip_high=clip_high)
  return grpo(log_probs, rollouts, reward, **clips, **anchor)


def gated_reward(
    reward: Reward,
    *,
    step_rewards: StepRewards,
    threshold: Scalar,
    step_mask: StepMask | None = None,
) -> Reward:
  """The outcome, and the sum over steps where it reaches `threshold`."""
  total = transforms.gate(
      reward.value, step_rewards, step_mask, threshold=threshold
  )
  return Reward(total, reward.valid)
