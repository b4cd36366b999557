"""Several rewards for each sample, some of them missing, on other scales.

`reward` holds M components on its last axis, `valid` False where one is
missing. The other arguments are explained in `recipes.policy_gradient`.
"""

from collections.abc import Callable
from typing import Unpack

import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.advantages import group
from rewardjax.core import masking, reduction
from rewardjax.core.masking import Mean
from rewardjax.recipes.credit import Credit, credit_of
from rewardjax.recipes.losses import Anchor, clipped, policy_loss
from rewardjax.shaping import aggregation
from rewardjax.types import Reward, Rollouts, Scalar

LossAndMetrics = tuple[Mean, dict[str, Mean]]


def multi_reward_credit(
    rollouts: Rollouts,
    reward: Reward,
    *,
    weights: Float[Array, " M"],
    combine: Callable[..., Array] = aggregation.normalize_then_sum,
    whiten: bool = True,
) -> Credit:
  """Advantages of several rewards.

  Args:
    rollouts: whole groups.
    reward: `[B, G, M]`; a sample without any component is left out.
    weights: of the components.
    combine: `aggregation.normalize_then_sum` or `sum_then_normalize` (static).
    whiten: whether to whiten over the samples of the batch (static).
  """
  known = jnp.any(reward.valid, axis=-1)
  advantages = combine(
      *reward, weights=weights, estimator=group.standardized
  )
  if whiten:
    advantages = masking.masked_whiten(advantages, known)
  return Credit(advantages[..., None], rollouts.mask & known[..., None])


def gdpo(
    log_probs: Float[Array, "B G T"],
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    weights: Float[Array, " M"],
    combine: Callable[..., Array] = aggregation.normalize_then_sum,
    whiten: bool = True,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """GRPO whose rewards are standardised one by one, then summed, whitened.

  Credit: `multi_reward_credit`, which explains the keywords.

  References:
    Liu et al., "GDPO: Group reward-Decoupled Normalization Policy
      Optimization", 2026.
  """
  credit = credit_of(
      rollouts, reward, multi_reward_credit,
      weights=weights, combine=combine, whiten=whiten,
  )
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.token_mean, **anchor
  )
