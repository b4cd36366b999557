"""The credit halves of `recipes.exploration` and `recipes.oreal`.

Each sees the whole batch, as those of `recipes.credit` do; what it returns
may be cut into microbatches.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.advantages import distribution, group, outcome, outliers
from rewardjax.core import masking
from rewardjax.objectives import low_probability
from rewardjax.recipes.credit import (
    Credit,
    credited_tokens,
    group_credit,
    return_credit,
)
from rewardjax.reward_models.outcome import TokenWeights, token_weights
from rewardjax.shaping import ranks
from rewardjax.types import Reward, Rollouts, Scalar


def lp_reg_credit(
    rollouts: Rollouts, reward: Reward, *, fraction: Scalar = 0.01
) -> Credit:
  """Standardised advantages; marks the least likely of the punished tokens.

  Args:
    rollouts: whole groups.
    reward: one per sample; invalid ones are left out entirely.
    fraction: of the tokens with negative advantage, by the sampler's own
      log-probs, over the whole batch.
  """
  credit = group_credit(rollouts, reward)
  punished = credit.mask & (credit.advantages < 0)
  marked = low_probability.lowest_tokens(
      rollouts.log_probs, punished, fraction=fraction
  )
  return credit._replace(marked=marked)


def unlikeliness_credit(
    rollouts: Rollouts, reward: Reward, *, coefficient: Scalar = 0.25
) -> Credit:
  """Standardised advantages of rewards that are larger for the unlikely.

  Groups whose shaped rewards are all equal leave the loss and its
  denominator; groups of right answers do not, unless all are equally likely.

  Args:
    rollouts: whole groups.
    reward: one per sample, not negative; invalid ones are left out entirely.
    coefficient: share of the reward that the likeliest sample loses.
  """
  mean = masking.masked_mean(rollouts.log_probs, rollouts.mask, -1)
  shaped = ranks.unlikeliness(
      reward.value, mean, reward.valid, coefficient=coefficient
  )
  credit = group_credit(rollouts, Reward(shaped, reward.valid))
  live = group.informative(shaped, reward.valid)[..., None, None]
  return credit._replace(mask=credit.mask & live)


def _sampled_entropy(rollouts, mask) -> Float[Array, ""]:
  """Nats per token, estimated from the samples themselves."""
  return -masking.masked_mean(rollouts.log_probs, mask)


def dcpo_temperature(
    rollouts: Rollouts,
    reward: Reward,
    *,
    target: Scalar,
    warm: Scalar = 1.2,
    cool: Scalar = 0.8,
) -> Float[Array, ""]:
  """The temperature whose log-probs `dcpo_credit` is to be given.

  Args:
    rollouts: the whole batch; its entropy is measured.
    reward: one per sample; invalid ones are left out entirely.
    target: entropy to settle at, in nats per token.
    warm: see `distribution.exploration_temperature`, as the next.
    cool: a temperature in (0, 1].
  """
  entropy = _sampled_entropy(rollouts, credited_tokens(rollouts, reward))
  return distribution.exploration_temperature(
      entropy, target=target, warm=warm, cool=cool
  )


def dcpo_credit(
    rollouts: Rollouts,
    reward: Reward,
    *,
    tempered_log_probs: Float[Array, "B G T"],
    target: Scalar,
    entropy: Scalar | None = None,
    cap: Scalar = 0.1,
    threshold: Scalar = 0.05,
) -> Credit:
  """Standardised advantages, and a pull towards the tempered policy.

  Args:
    rollouts: whole groups.
    reward: one per sample; invalid ones are left out entirely.
    tempered_log_probs: of the sampled tokens under the sampler's parameters
      and the temperature of `dcpo_temperature`.
    target: entropy to settle at, in nats per token.
    entropy: measured at the last update; None measures these rollouts.
    cap: see `distribution.exploration_weight`.
    threshold: samples with a larger reward are pulled.
  """
  credit = group_credit(rollouts, reward)
  if entropy is None:
    entropy = _sampled_entropy(rollouts, credit.mask)
  positive = reward.valid & (reward.value > threshold)
  weight = distribution.exploration_weight(
      positive, reward.valid, entropy=entropy, target=target, cap=cap
  )
  advantages = distribution.distribution_advantages(
      credit.advantages,
      tempered_log_probs,
      rollouts.log_probs,
      positive,
      credit.mask,
      weight=weight,
  )
  return credit._replace(advantages=advantages)


def stable_credit(
    rollouts: Rollouts,
    reward: Reward,
    *,
    threshold: Scalar = 3.0,
    discount: Scalar = 1.0,
    reference_log_probs: Float[Array, "B G T"] | None = None,
    kl_coefficient: Scalar = 0.0,
) -> Credit:
  """Returns whitened over all tokens of the batch, outliers set to 0.

  Args:
    rollouts: any samples; groups play no role.
    reward: one per sample; invalid ones are left out entirely.
    threshold: in standard deviations.
    discount: per token.
    reference_log_probs: needed if `kl_coefficient` is not 0.
    kl_coefficient: each token is paid -coefficient * k1.
  """
  credit = return_credit(
      rollouts,
      reward,
      discount=discount,
      reference_log_probs=reference_log_probs,
      kl_coefficient=kl_coefficient,
  )
  advantages = outliers.whiten_without_outliers(
      credit.advantages, credit.mask, threshold=threshold
  )
  return credit._replace(advantages=advantages)


def oreal_credit(
    rollouts: Rollouts,
    reward: Reward,
    *,
    token_rewards: Float[Array, "B G T"] | None = None,
    kept: Bool[Array, "B G"] | None = None,
    negative_coefficient: Scalar = 0.5,
) -> Credit:
  """Leave-one-out of signed outcomes, per token, each sign by its own mean.

  Args:
    rollouts: whole groups.
    reward: one per sample, right if above 0; invalid ones are left out.
    token_rewards: of a reward model trained by
      `reward_models.outcome.outcome_loss`; None weighs all tokens alike.
    kept: samples that stay in the loss, such as `outcome.one_of_each`; all of
      them are in the statistics of their group. None keeps all.
    negative_coefficient: of wrong samples.
  """
  correct = reward.valid & (reward.value > 0)
  signed = Reward(jnp.where(correct, 1.0, -1.0), reward.valid)
  credit = group_credit(rollouts, signed, group.leave_one_out)
  mask = credit.mask if kept is None else credit.mask & kept[..., None]
  right = jnp.broadcast_to(correct[..., None], mask.shape)
  advantages = jnp.broadcast_to(credit.advantages, mask.shape)
  weights = TokenWeights(1.0, 1.0)
  if token_rewards is not None:
    weights = token_weights(token_rewards, credited_tokens(rollouts, reward))
  advantages = advantages * jnp.where(right, weights.positive, weights.negative)
  advantages = outcome.balanced(
      advantages, right, mask, negative_coefficient=negative_coefficient
  )
  return Credit(advantages, mask)
