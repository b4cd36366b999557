"""From rewards to credit: the half of a recipe that sees the whole batch.

Group statistics need whole groups and whitening needs everything; losses do
not. So a step that cuts its batch into microbatches computes the `Credit`
once and passes slices of it to the recipe in place of the reward:

    credit = return_credit(rollouts, reward, whiten=True)  # the whole batch
    loss, metrics = reinforce_pp(log_probs, part_of_rollouts, part_of_credit)

Off-policy weights multiply `advantages`; what is rejected leaves `mask`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.advantages import group, placement, temporal
from rewardjax.core import checks, masking
from rewardjax.core.masking import Mean
from rewardjax.objectives import regularizers
from rewardjax.shaping import length
from rewardjax.types import Reward, Rollouts, Scalar


class Credit(NamedTuple):
  """Who is credited with how much, and which tokens count in the loss.

  advantages: per token, or per sample with a last axis of 1.
  mask: True on sampled tokens of samples whose reward is known.
  returns, values: targets of a critic and its values at collection, or None.
  marked: tokens that the recipe treats apart from the others, or None.
  """

  advantages: Float[Array, "B G #T"]
  mask: Bool[Array, "B G T"]
  returns: Float[Array, "B G T"] | None = None
  values: Float[Array, "B G T"] | None = None
  marked: Bool[Array, "B G T"] | None = None


def credit_of(
    rollouts: Rollouts,
    reward: Reward | Credit,
    compute: Callable[..., Credit],
    *args,
    **kwargs,
) -> Credit:
  """`reward` itself if it is a Credit already, else what `compute` makes."""
  if isinstance(reward, Credit):
    return reward
  return compute(rollouts, reward, *args, **kwargs)


def credited_tokens(rollouts: Rollouts, reward: Reward) -> Bool[Array, "B G T"]:
  """Sampled tokens of the samples whose reward is known."""
  return rollouts.mask & reward.valid[..., None]


def _kl_penalty(where, rollouts, mask, reference_log_probs, coefficient):
  """Rewards per token: -coefficient * k1, 0 without a reference."""
  require_reference(where, reference_log_probs, coefficient)
  if reference_log_probs is None:
    return jnp.zeros_like(masking.as_accumulator(rollouts.log_probs))
  return regularizers.kl_reward_penalty(
      rollouts.log_probs, reference_log_probs, mask, coefficient=coefficient
  )


def _place(reward, mask, penalty, early_rewards):
  """Rewards per token: what is not paid earlier comes with the last one."""
  if early_rewards is None:
    return placement.place_last(reward.value, mask) + penalty
  early = masking.fill_masked(early_rewards, mask)
  rest = reward.value - jnp.sum(early, axis=-1)
  return placement.place_last(rest, mask) + early + penalty


def require_reference(where: str, reference_log_probs, coefficient) -> None:
  """Raises ValueError if a KL coefficient has no reference to act on."""
  off = isinstance(coefficient, int | float) and coefficient == 0
  if reference_log_probs is None and not off:
    raise ValueError(
        f"{where}: kl_coefficient needs reference_log_probs, got None with "
        f"kl_coefficient {coefficient}."
    )


def group_credit(
    rollouts: Rollouts,
    reward: Reward,
    estimator: Callable[..., Array] = group.standardized,
    *,
    reference_log_probs: Float[Array, "B G T"] | None = None,
    kl_coefficient: Scalar = 0.0,
    whiten: bool = False,
) -> Credit:
  """One advantage per sample, from its group.

  Args:
    rollouts: whole groups.
    reward: one per sample; invalid ones are left out entirely.
    estimator: `(rewards, mask) -> advantages`, such as those of
      `advantages.group` (static).
    reference_log_probs: needed if `kl_coefficient` is not 0.
    kl_coefficient: subtracts coefficient * sum_t k1 from each reward first.
    whiten: whether to whiten over all tokens of the batch, so that long
      samples weigh more in the statistics (static).

  Raises:
    ValueError: if groups have one sample: every advantage would be 0.
  """
  samples_per_group = reward.value.shape[-1]
  checks.at_least("group_credit", 2, samples_per_group=samples_per_group)
  mask = credited_tokens(rollouts, reward)
  penalty = _kl_penalty(
      "group_credit", rollouts, mask, reference_log_probs, kl_coefficient
  )
  value = reward.value + masking.masked_sum(penalty, mask, -1)
  advantages = estimator(value, reward.valid)[..., None]
  if whiten:
    advantages = jnp.broadcast_to(advantages, mask.shape)
    advantages = masking.masked_whiten(advantages, mask)
  return Credit(advantages, mask)


def return_credit(
    rollouts: Rollouts,
    reward: Reward,
    *,
    reference_log_probs: Float[Array, "B G T"] | None = None,
    kl_coefficient: Scalar = 0.0,
    discount: Scalar = 1.0,
    baseline: Scalar = 0.0,
    whiten: bool = False,
    early_rewards: Float[Array, "B G T"] | None = None,
) -> Credit:
  """Returns per token: the reward at the end, KL penalties on the way.

  Args:
    rollouts: any samples; groups play no role.
    reward: one per sample; invalid ones are left out entirely.
    reference_log_probs: needed if `kl_coefficient` is not 0.
    kl_coefficient: each token is paid -coefficient * k1.
    discount: per token.
    baseline: subtracted from every return.
    whiten: whether to whiten over all tokens of the batch (static).
    early_rewards: the part of each reward that is paid before the end, and
      where, such as on the turns of an episode; None: no part of it.
  """
  mask = credited_tokens(rollouts, reward)
  penalty = _kl_penalty(
      "return_credit", rollouts, mask, reference_log_probs, kl_coefficient
  )
  rewards = _place(reward, mask, penalty, early_rewards)
  returns = temporal.reward_to_go(rewards, mask, discount=discount) - baseline
  if whiten:
    return Credit(masking.masked_whiten(returns, mask), mask)
  return Credit(masking.fill_masked(returns, mask), mask)


def gae_credit(
    rollouts: Rollouts,
    reward: Reward,
    values: Float[Array, "B G T"],
    *,
    discount: Scalar,
    decay: Scalar,
    bootstrap: Float[Array, "B G"] | None = None,
    reference_log_probs: Float[Array, "B G T"] | None = None,
    kl_coefficient: Scalar = 0.0,
    whiten: bool = True,
    early_rewards: Float[Array, "B G T"] | None = None,
) -> Credit:
  """Generalised advantages of a critic, the reward at the last token.

  Args:
    rollouts: any samples; groups play no role.
    reward: one per sample; invalid ones are left out entirely.
    values: of the critic before each token, when the batch was collected.
    discount: per token.
    decay: lambda.
    bootstrap: value after the last token; used where the sample was
      truncated and nowhere else. None: running out of room is an end like
      any other, and should cost something (`shaping.missing_stop_penalty`).
    reference_log_probs: needed if `kl_coefficient` is not 0.
    kl_coefficient: each token is paid -coefficient * k1.
    whiten: whether to whiten over all tokens of the batch (static); returns
      are those before.
    early_rewards: the part of each reward that is paid before the end, and
      where, such as on the turns of an episode; None: no part of it.
  """
  mask = credited_tokens(rollouts, reward)
  penalty = _kl_penalty(
      "gae_credit", rollouts, mask, reference_log_probs, kl_coefficient
  )
  rewards = _place(reward, mask, penalty, early_rewards)
  if bootstrap is not None:
    bootstrap = masking.fill_masked(bootstrap, rollouts.truncated)
  advantages, returns = temporal.gae(
      rewards, values, mask, discount=discount, decay=decay, bootstrap=bootstrap
  )
  if whiten:
    advantages = masking.masked_whiten(advantages, mask)
  return Credit(advantages, mask, returns, values)


def dapo_credit(
    rollouts: Rollouts,
    reward: Reward,
    *,
    max_length: int,
    buffer: int,
    factor: Scalar = 1.0,
    drop_truncated: bool = False,
) -> Credit:
  """Standardised advantages of informative groups, long samples penalised.

  Groups whose *outcomes* are all equal leave the loss and its denominator,
  though the length penalty tells their samples apart.

  Args:
    rollouts: whole groups.
    reward: the outcome, before shaping; invalid samples are left out.
    max_length: the longest completion allowed, in tokens.
    buffer: tokens over which the length penalty grows.
    factor: largest length penalty, in reward units.
    drop_truncated: whether truncated samples leave the loss too; they stay
      in the statistics of their group (static).
  """
  lengths = jnp.sum(rollouts.mask, axis=-1)
  penalty = length.overlong_penalty(
      lengths, max_length=max_length, buffer=buffer, factor=factor
  )
  shaped = Reward(reward.value + penalty, reward.valid)
  credit = group_credit(rollouts, shaped)
  live = group.informative(reward.value, reward.valid)[..., None, None]
  if drop_truncated:
    live = live & ~rollouts.truncated[..., None]
  return credit._replace(mask=credit.mask & live)


def group_metrics(reward: Reward) -> dict[str, Mean]:
  """What a batch of groups says before anything is learned from it.

  Returns:
    `reward` (mean), `reward_variance` (within groups, unbiased),
    `reward_known` (fraction of valid samples) and `dead_groups` (fraction
    whose rewards are all equal).
  """
  value, valid = reward
  variance = masking.masked_variance(value, valid, -1, ddof=1)
  dead = ~group.informative(value, valid)
  return {
      "reward": Mean.of(value, valid),
      "reward_variance": Mean.of(variance, jnp.sum(valid, -1) > 1),
      "reward_known": Mean.of(valid.astype(variance.dtype)),
      "dead_groups": Mean.of(dead.astype(variance.dtype)),
  }
