"""Policy-gradient papers over groups of sampled token sequences.

Every recipe is `(log_probs, rollouts, reward, *, ...) -> (loss, metrics)`:

  log_probs: `[B, G, T]`, of the sampled tokens under the trained policy and
    the sampler's law; the only argument that carries gradient.
  rollouts: the samples; their `log_probs` are the behaviour's.
  reward: a `Reward` per sample. Invalid samples take part in nothing: not in
    group statistics, not in the loss, not in its denominator. Or the `Credit`
    made from the rewards of the whole batch by the function that each recipe
    names, when the rest is a microbatch; options of the credit half are then
    its business and have no effect here.
  reference_log_probs: `[B, G, T]` of the frozen reference, or None. Where KL
    is in the reward, `kl_coefficient` pays for k1; elsewhere it weighs a loss
    (`losses.Anchor`) and `kl_estimator` chooses its gradient. Without a
    coefficient the KL is only a metric.

The loss is a `Mean`: add it over microbatches and devices, then divide.
PPO, which has a critic as well, lives in `recipes.actor_critic`.
"""

from collections.abc import Callable
from functools import partial
from typing import Unpack

from jaxtyping import Array, Float

from rewardjax.advantages import group
from rewardjax.core import reduction
from rewardjax.core.masking import Mean
from rewardjax.objectives import policy_gradient
from rewardjax.recipes.actor_critic import ppo
from rewardjax.recipes.credit import (
    Credit,
    credit_of,
    dapo_credit,
    group_credit,
    return_credit,
)
from rewardjax.recipes.losses import (
    Anchor,
    clipped,
    detached,
    policy_loss,
    score,
)
from rewardjax.types import Reward, Rollouts, Scalar

__all__ = [
    "cispo",
    "dapo",
    "dr_grpo",
    "grpo",
    "gspo",
    "ppo",
    "reinforce",
    "reinforce_pp",
    "reinforce_pp_baseline",
    "rloo",
]

LossAndMetrics = tuple[Mean, dict[str, Mean]]
Tokens = Float[Array, "B G T"]


def reinforce(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    reference_log_probs: Tokens | None = None,
    kl_coefficient: Scalar = 0.0,
    discount: Scalar = 1.0,
    baseline: Scalar = 0.0,
) -> LossAndMetrics:
  """The score times the return, summed over tokens, averaged over samples.

  Credit: `return_credit`, with k1 in the reward. For samples of the present
  policy only: there is no ratio.

  References:
    Williams, "Simple statistical gradient-following algorithms for
      connectionist reinforcement learning", 1992.
  """
  anchor = dict(reference_log_probs=reference_log_probs)
  returns = dict(discount=discount, baseline=baseline)
  credit = credit_of(
      rollouts, reward, return_credit,
      kl_coefficient=kl_coefficient, **anchor, **returns,
  )
  reduce = reduction.sequence_sum_mean
  return policy_loss(log_probs, rollouts, credit, score(), reduce, **anchor)


def reinforce_pp(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    reference_log_probs: Tokens | None = None,
    kl_coefficient: Scalar = 0.0,
    discount: Scalar = 1.0,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
) -> LossAndMetrics:
  """REINFORCE++: returns with k1 in the reward, whitened over all tokens.

  Credit: `return_credit(..., whiten=True)`, on the whole batch. No groups.

  References:
    Hu et al., "REINFORCE++", 2025, arXiv:2501.03262.
  """
  anchor = dict(reference_log_probs=reference_log_probs)
  credit = credit_of(
      rollouts, reward, return_credit,
      kl_coefficient=kl_coefficient, discount=discount, whiten=True, **anchor,
  )
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.token_mean, **anchor
  )


def reinforce_pp_baseline(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """REINFORCE++-baseline: less the group mean, whitened over all tokens.

  Credit: `group_credit(..., group.centered, whiten=True)`, on the whole batch.

  References:
    Hu et al., "REINFORCE++", 2025, arXiv:2501.03262.
  """
  credit = credit_of(
      rollouts, reward, group_credit, group.centered, whiten=True
  )
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.token_mean, **anchor
  )


def rloo(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    reference_log_probs: Tokens | None = None,
    kl_coefficient: Scalar = 0.0,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    ratio: Callable[..., Array] = policy_gradient.sequence_ratio,
) -> LossAndMetrics:
  """Leave-one-out advantages on the ratio of whole sequences.

  Credit: `group_credit(..., group.leave_one_out)`; coefficient * sum_t k1 is
  subtracted from the rewards before the baseline. The paper does not clip;
  at the sampling policy it makes no difference. A token ratio averages the
  tokens of a sequence instead of summing them.

  References:
    Ahmadian et al., "Back to Basics", 2024, arXiv:2402.14740.
  """
  anchor = dict(reference_log_probs=reference_log_probs)
  credit = credit_of(
      rollouts, reward, group_credit, group.leave_one_out,
      kl_coefficient=kl_coefficient, **anchor,
  )
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high, ratio=ratio)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.sequence_mean, **anchor
  )


def grpo(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """Rewards standardised in their group, mean over samples of token means.

  Credit: `group_credit(...)`. Differs from the paper: the KL loss has the
  value of k3 but the gradient of KL(p || q); the paper's own is
  kl_estimator="k3" with a coefficient of 0.04.

  References:
    Shao et al., "DeepSeekMath", 2024, arXiv:2402.03300.
  """
  credit = credit_of(rollouts, reward, group_credit)
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.sequence_mean, **anchor
  )


def dr_grpo(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    length: int,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """GRPO without the std and without dividing by the sample's own length.

  Credit: `group_credit(..., group.centered)`. Token sums are divided by
  samples * `length` (static), whatever the masks.

  References:
    Liu et al., "Understanding R1-Zero-Like Training", 2025, arXiv:2503.20783.
  """
  credit = credit_of(rollouts, reward, group_credit, group.centered)
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  reduce = partial(reduction.fixed_length_mean, length=length)
  return policy_loss(log_probs, rollouts, credit, surrogate, reduce, **anchor)


def dapo(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    max_length: int,
    buffer: int,
    factor: Scalar = 1.0,
    drop_truncated: bool = False,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.28,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """GRPO that clips higher, counts tokens alike and drops dead groups.

  Credit: `dapo_credit`; `reward` is the outcome, before the length penalty.
  Refill dead groups beforehand with `advantages.dynamic_sampling`.

  References:
    Yu et al., "DAPO", 2025, arXiv:2503.14476.
  """
  lengths = dict(max_length=max_length, buffer=buffer, factor=factor)
  credit = credit_of(
      rollouts, reward, dapo_credit, drop_truncated=drop_truncated, **lengths
  )
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.token_mean, **anchor
  )


def gspo(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    clip_low: Scalar = 3e-4,
    clip_high: Scalar = 4e-4,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """GRPO that clips the length-normalised ratio of the whole sequence.

  Credit: `group_credit(...)`.

  References:
    Zheng et al., "Group Sequence Policy Optimization", 2025,
      arXiv:2507.18071.
  """
  credit = credit_of(rollouts, reward, group_credit)
  ratio = policy_gradient.sequence_mean_ratio
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high, ratio=ratio)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.sequence_mean, **anchor
  )


def cispo(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    low: Scalar,
    high: Scalar,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """The score weighed by a truncated ratio: no token loses its gradient.

  Credit: `group_credit(...)`. `low` and `high` bound the ratio itself.

  References:
    MiniMax, "MiniMax-M1", 2025, arXiv:2506.13585.
  """
  credit = credit_of(rollouts, reward, group_credit)
  surrogate = detached(low=low, high=high)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.token_mean, **anchor
  )
