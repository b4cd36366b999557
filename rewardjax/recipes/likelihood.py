"""Papers that pay for the likelihood of a known answer, without a verifier.

After every sampled reasoning the reference answer is scored, L tokens of it:
`answer_log_probs`, with `answer_mask` True on its tokens. The arguments that
these recipes share with others are explained in `recipes.policy_gradient`;
of `reward` only `valid` is read, unless said otherwise.
"""

from collections.abc import Callable
from typing import Unpack

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.advantages import group, running
from rewardjax.core import reduction
from rewardjax.core.masking import Mean
from rewardjax.recipes.credit import Credit, credit_of, group_credit
from rewardjax.recipes.losses import Anchor, clipped, policy_loss, score
from rewardjax.rewards import likelihood as likelihoods
from rewardjax.types import Reward, Rollouts, Scalar

LossAndMetrics = tuple[Mean, dict[str, Mean]]
Tokens = Float[Array, "B G T"]
AnswerLogProbs = Float[Array, "B G L"]
AnswerMask = Bool[Array, "B G L"]


def likelihood_credit(
    rollouts: Rollouts,
    reward: Reward,
    *,
    answer_log_probs: AnswerLogProbs,
    answer_mask: AnswerMask,
    kind: likelihoods.Kind,
    estimator: Callable[..., Array] = group.leave_one_out,
) -> Credit:
  """Advantages of reasonings from the likelihood of the answer after them.

  Args:
    rollouts: whole groups.
    reward: only `valid` is read; an empty answer is unknown as well.
    answer_log_probs: of the reference answer, held.
    answer_mask: True on its tokens.
    kind: of likelihood (static).
    estimator: such as those of `advantages.group` (static).
  """
  value = likelihoods.answer_likelihood(
      jax.lax.stop_gradient(answer_log_probs), answer_mask, kind=kind
  )
  known = reward.valid & jnp.any(answer_mask, axis=-1)
  return group_credit(rollouts, Reward(value, known), estimator)


def likelihood(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    answer_log_probs: AnswerLogProbs,
    answer_mask: AnswerMask,
    kind: likelihoods.Kind = "log_prob",
    direct: bool = True,
    estimator: Callable[..., Array] = group.leave_one_out,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """REINFORCE on the reasoning, and the likelihood's own gradient.

  Credit: `likelihood_credit(..., kind=kind)`. The reward depends on the
  parameters, so its gradient has two parts: the score of the reasoning times
  its advantage, and the derivative of the likelihood itself (for log_prob
  that of supervised learning). With leave-one-out both together are unbiased
  on the policy that sampled.

  Args:
    log_probs: see `recipes.policy_gradient`, as the next two.
    rollouts: sampled reasonings.
    reward: only `valid` is read.
    answer_log_probs: under the trained policy; carries gradient.
    answer_mask: True on the tokens of the reference answer.
    kind: of likelihood (static).
    direct: False drops the second part, and with it part of the gradient of
      the expected likelihood (static).
    estimator: of the advantages (static).
    **anchor: of the KL loss.

  References:
    "Likelihood-Based Reward Designs for General LLM Reasoning".
  """
  answers = dict(answer_log_probs=answer_log_probs, answer_mask=answer_mask)
  credit = credit_of(
      rollouts, reward, likelihood_credit,
      kind=kind, estimator=estimator, **answers,
  )
  reduce = reduction.sequence_sum_mean
  policy, metrics = policy_loss(
      log_probs, rollouts, credit, score(), reduce, **anchor
  )
  counted = jnp.any(credit.mask, axis=-1)
  value = likelihoods.answer_likelihood(
      answer_log_probs, answer_mask & counted[..., None], kind=kind
  )
  mean = Mean.of(value, counted)
  metrics = metrics | {"answer_likelihood": mean, "policy_loss": policy}
  if not direct:
    return policy, metrics
  # Both are means over the same samples, so the totals add.
  return Mean(policy.total - mean.total, policy.weight), metrics


def rlpr_credit(
    rollouts: Rollouts,
    reward: Reward,
    *,
    answer_log_probs: AnswerLogProbs,
    answer_mask: AnswerMask,
    baseline: Float[Array, "B 1"],
    format_weight: Scalar = 0.1,
    spread: running.Spread | None = None,
    spread_factor: Scalar = 0.5,
    min_updates: int = 5,
) -> Credit:
  """Standardised advantages of debiased mean probabilities and the format.

  Groups whose rewards spread less than usual leave the loss. Update the state
  with `rlpr_reward` and `advantages.running` once per batch, afterwards.

  Args:
    rollouts: whole groups.
    reward: 1 where the format is right, else 0.
    answer_log_probs: of the reference answer under the policy that sampled.
    answer_mask: True on its tokens.
    baseline: mean probability of the answer without reasoning, per prompt.
    format_weight: share of the format in the reward.
    spread: running spread of earlier batches; None drops no group.
    spread_factor: of the running spread, below which a group is dropped.
    min_updates: of `spread` before anything is dropped (static).
  """
  total = rlpr_reward(
      reward,
      answer_log_probs=answer_log_probs,
      answer_mask=answer_mask,
      baseline=baseline,
      format_weight=format_weight,
  )
  credit = group_credit(rollouts, total)
  if spread is None:
    return credit
  wide = running.wide_groups(
      spread, *total, factor=spread_factor, min_updates=min_updates
  )
  return credit._replace(mask=credit.mask & wide[..., None, None])


def rlpr_reward(
    reward: Reward,
    *,
    answer_log_probs: AnswerLogProbs,
    answer_mask: AnswerMask,
    baseline: Float[Array, "B 1"],
    format_weight: Scalar = 0.1,
) -> Reward:
  """(1 - w) max(mean probability - baseline, 0) + w format.

  Args: as `rlpr_credit`. An empty answer has probability 0.
  """
  value = likelihoods.answer_likelihood(
      jax.lax.stop_gradient(answer_log_probs), answer_mask, kind="mean_prob"
  )
  value = likelihoods.debiased(value, baseline)
  mixed = (1 - format_weight) * value + format_weight * reward.value
  return Reward(mixed, reward.valid)


def rlpr(
    log_probs: Tokens,
    rollouts: Rollouts,
    reward: Reward | Credit,
    *,
    answer_log_probs: AnswerLogProbs,
    answer_mask: AnswerMask,
    baseline: Float[Array, "B 1"],
    format_weight: Scalar = 0.1,
    spread: running.Spread | None = None,
    spread_factor: Scalar = 0.5,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.27,
    **anchor: Unpack[Anchor],
) -> LossAndMetrics:
  """GRPO on the mean probability of the reference answer.

  Credit: `rlpr_credit`, which explains the keywords; `reward` is that of the
  format. `answer_log_probs` are of the policy that sampled, and held.

  References:
    "RLPR: Extrapolating RLVR to General Domains without Verifiers", 2025.
  """
  credit = credit_of(
      rollouts, reward, rlpr_credit,
      answer_log_probs=answer_log_probs, answer_mask=answer_mask,
      baseline=baseline, format_weight=format_weight,
      spread=spread, spread_factor=spread_factor,
  )
  surrogate = clipped(clip_low=clip_low, clip_high=clip_high)
  return policy_loss(
      log_probs, rollouts, credit, surrogate, reduction.token_mean, **anchor
  )
