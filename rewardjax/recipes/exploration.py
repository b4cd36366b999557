"""Papers on keeping a policy exploring; arguments as `recipes.policy_gradient`.

The credit halves are in `recipes.exploration_credit`.
"""

import math
from functools import partial
from typing import Unpack

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.advantages import quantile
from rewardjax.core import masking, reduction
from rewardjax.core.masking import Mean
from rewardjax.objectives import low_probability, policy_gradient, regularizers
from rewardjax.recipes.credit import Credit, credit_of, group_credit
from rewardjax.recipes.exploration_credit import (
    dcpo_credit,
    lp_reg_credit,
    stable_credit,
    unlikeliness_credit,
)
from rewardjax.recipes.losses import Anchor, Surrogate, clipped, policy_loss
from rewardjax.recipes.policy_gradient import grpo
from rewardjax.training import meta
from rewardjax.types import Reward, Rollouts, Scalar

__all__ = [
    "amft",
    "dcpo",
    "g2rpo",
    "lp_reg",
    "stable_reinforce",
    "unlikeliness",
]

LossAndMetrics = tuple[Mean, dict[str, Mean]]
Tokens = Float[Array, "B G T"]


def _protected(proxy_log_probs, marked, coefficient, **clips) -> Surrogate:
  """The clipped surrogate, but for marked tokens below the proxy."""

  def surrogate(log_probs, behavior_log_probs, advantages, mask):
    ratio = policy_gradient.token_ratio(log_probs, behavior_log_probs, mask)
    proxy = masking.fill_masked(proxy_log_probs, mask)
    protected = low_probability.below_proxy(log_probs, proxy, marked & mask)
    losses = low_probability.protected_surrogate(
        ratio, log_probs, proxy, advantages, protected,
        coefficient=coefficient, **clips,
    )
    metrics = policy_gradient.clip_fractions(ratio, advantages, mask, **clips)
    share = Mean.of(protected.astype(losses.dtype), mask)
    return losses, metrics | {"ratio": Mean.of(ratio, mask), "protected": share}

  return surrogate


def lp_reg(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    proxy_log_probs: Tokens,
    fraction: Scalar = 0.01,
    coefficient: Scalar = 1.0,
    clip_low: Scalar = 1.0,
    clip_high: Scalar = 9.0,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """Lp-Reg: GRPO whose least likely punished tokens are held by a filter.

  Credit: `lp_reg_credit`, on the whole batch. `proxy_log_probs` are of the
  sampled tokens under `SamplingLaw(min_p=0.02)`, -inf included, and the
  parameters that sampled; those of a frozen reference give a floor that does
  not sink with the policy.

  Raises:
    ValueError: if `reward` is a Credit without marked tokens.

  References:
    "Low-probability Tokens Sustain Exploration in Reinforcement Learning
      with Verifiable Reward".
  """
  credit = credit_of(rollouts, reward, lp_reg_credit, fraction=fraction)
  if credit.marked is None:
    raise ValueError("lp_reg: reward must be a Credit with marked tokens.")
  surrogate = _protected(
      proxy_log_probs, credit.marked, coefficient,
      clip_low=clip_low, clip_high=clip_high,
  )
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.token_mean, **anchor
  )


def unlikeliness(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    coefficient: Scalar = 0.25,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """GRPO that pays right answers more the less likely they were.

  Credit: `unlikeliness_credit`. The paper makes two updates with each batch
  and anchors with kl_estimator="k3" and kl_coefficient=0.1.

  References:
    He et al., "Rewarding the Unlikely: Lifting GRPO Beyond Distribution
      Sharpening".
  """
  credit = credit_of(
      rollouts, reward, unlikeliness_credit, coefficient=coefficient
  )
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.token_mean, **anchor
  )


def dcpo(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    tempered_log_probs: Tokens | None = None,
    target: Scalar = 0.5,
    entropy: Scalar | None = None,
    cap: Scalar = 0.1,
    threshold: Scalar = 0.05,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """GRPO that pulls right samples towards a warmer or cooler policy.

  Credit: `dcpo_credit`, on the whole batch. `tempered_log_probs` are of the
  sampled tokens under `SamplingLaw(temperature)` and the parameters that
  sampled, with the `exploration_temperature` of the entropy and its target;
  not needed if `reward` is a Credit.

  Raises:
    ValueError: if there are neither a Credit nor tempered log-probs.

  References:
    "Distribution-Centric Policy Optimization".
  """
  if tempered_log_probs is None and not isinstance(reward, Credit):
    raise ValueError("dcpo: tempered_log_probs are needed to make a Credit.")
  credit = credit_of(
      rollouts, reward, dcpo_credit, tempered_log_probs=tempered_log_probs,
      target=target, entropy=entropy, cap=cap, threshold=threshold,
  )
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.token_mean, **anchor
  )


def g2rpo(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    entropies: Tokens | None = None,
    entropy_low: Scalar = 0.0,
    entropy_high: Scalar = math.inf,
    entropy_coefficient: Scalar = 0.0,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """GRPO with normal quantiles as advantages, entropy held in a band.

  Credit: `group_credit(..., quantile.gaussian_quantile)`. `entropies` are of
  the trained policy at each token and carry gradient; the band holds the
  mean of each sample. Add `shaping.length.length_trapezoid` to the reward
  beforehand, with the bounds of its task.

  References:
    "OpenVLThinkerV2" (Gaussian GRPO).
  """
  credit = credit_of(
      rollouts, reward, group_credit, quantile.gaussian_quantile
  )
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  policy, metrics = policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.sequence_mean, **anchor
  )
  if entropies is None:
    return policy, metrics
  band = regularizers.entropy_band(
      entropies, credit.mask, coefficient=entropy_coefficient,
      low=entropy_low, high=entropy_high,
  )
  mean = masking.masked_mean(entropies, credit.mask, -1)
  counted = credit.mask.any(-1)
  # Both are means over the same samples: the totals add.
  loss = policy._replace(total=policy.total + masking.masked_sum(band, counted))
  return loss, metrics | {"entropy": Mean.of(mean, counted)}


def stable_reinforce(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    reference_log_probs: Tokens | None = None,
    kl_coefficient: Scalar = 0.0,
    discount: Scalar = 1.0,
    threshold: Scalar = 3.0,
    largest_ratio: float = 1e3,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
) -> LossAndMetrics:
  """REINFORCE++ with bounded ratios and without outlying advantages.

  Credit: `stable_credit`, on the whole batch. Log-ratios are clipped to
  +-log(largest_ratio) (static) before the exponential: no glitch of a
  log-prob makes the loss infinite.

  References:
    "R1-Reward: Training Multimodal Reward Model Through Stable
      Reinforcement Learning".
  """
  anchor = dict(reference_log_probs=reference_log_probs)
  credit = credit_of(
      rollouts, reward, stable_credit, threshold=threshold,
      discount=discount, kl_coefficient=kl_coefficient, **anchor,
  )
  ratio = partial(policy_gradient.token_ratio, bound=math.log(largest_ratio))
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high, ratio=ratio)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.sequence_mean, **anchor
  )


def amft(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    demonstration_log_probs: Float[Array, "*batch L"],
    demonstration_mask: Bool[Array, "*batch L"],
    weight: Scalar,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """GRPO on samples mixed with imitation of demonstrations, in one loss.

  Credit: `group_credit(...)`. `demonstration_log_probs` carry gradient too.
  `weight` is learned by `training.meta`: its slope, then `next_weight`.
  Microbatches must hold equal shares of the demonstrations.

  References:
    "AMFT: Aligning LLM Reasoners by Meta-Learning the Optimal
      Imitation-Exploration Balance".
  """
  exploration, metrics = grpo(
      log_probs, rollouts, reward,
      clip_low=clip_low, clip_high=clip_high, **anchor,
  )
  known = masking.fill_masked(demonstration_log_probs, demonstration_mask)
  losses = policy_gradient.score_surrogate(known, jnp.ones_like(known))
  imitation = reduction.token_mean(losses, demonstration_mask)
  loss = meta.mixed_loss(exploration, imitation, weight=weight)
  return loss, metrics | {
      "exploration_loss": exploration, "imitation_loss": imitation
  }
