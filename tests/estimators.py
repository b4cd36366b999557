"""Estimators, composed of the library's parts, for `tests.enumeration`."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from rewardjax.advantages import group
from rewardjax.core import reduction
from rewardjax.noise import corrections
from rewardjax.objectives import policy_gradient, regularizers
from tests import enumeration, exact_gradients, worlds
from tests.enumeration import Space, World

CORRECTIONS = {
    "raw": lambda observed, rates: observed,
    "backward": corrections.backward_reward,
    "forward": corrections.forward_weight,
    "mirrored forward": corrections.forward_weight_from_false_positive,
}


def _jitted(parts: dict[str, Callable]) -> dict[str, Callable]:
  """A jitted part is traced once for all the estimators that it is in."""
  return {name: jax.jit(part) for name, part in parts.items()}


ADVANTAGES = _jitted({
    "no baseline": group.constant_baseline,
    "constant baseline": functools.partial(
        group.constant_baseline, baseline=0.5
    ),
    "centered": group.centered,
    "leave-one-out": group.leave_one_out,
    "standardized": group.standardized,
    "standardized (ddof 0)": functools.partial(group.standardized, ddof=0),
    "batch-scaled": group.batch_scaled,
    "bernoulli-standardized": group.bernoulli_standardized,
})


def _clipped(log_probs, behavior, advantages, mask, ratio, clip):
  ratios = ratio(log_probs, behavior, mask)
  losses = policy_gradient.clipped_surrogate(
      ratios, advantages, clip_low=clip, clip_high=clip
  )
  return jnp.broadcast_to(losses, mask.shape)


def _score(log_probs, behavior, advantages, mask):
  del behavior, mask
  return policy_gradient.score_surrogate(log_probs, advantages)


def _detached(log_probs, behavior, advantages, mask):
  ratio = policy_gradient.token_ratio(log_probs, behavior, mask)
  return policy_gradient.detached_surrogate(
      ratio, log_probs, advantages, low=0.8, high=1.2
  )


def _soft_gate(log_probs, behavior, advantages, mask):
  return policy_gradient.soft_gate_surrogate(
      policy_gradient.token_ratio(log_probs, behavior, mask),
      advantages,
      temperature_positive=1.0,
      temperature_negative=1.05,
  )


def _weighted_score(log_probs, behavior, advantages, mask):
  """The whole-sequence ratio as a held weight on the score."""
  ratio = policy_gradient.sequence_ratio(log_probs, behavior, mask)
  return policy_gradient.score_surrogate(log_probs, ratio * advantages)


_by = lambda ratio, clip: functools.partial(_clipped, ratio=ratio, clip=clip)
SURROGATES = _jitted({
    "score": _score,
    "clipped token ratio": _by(policy_gradient.token_ratio, 0.2),
    "clipped mean ratio (GSPO)": _by(policy_gradient.sequence_mean_ratio, 4e-4),
    "detached ratio (CISPO)": _detached,
    "soft gate": _soft_gate,
    "unclipped token ratio": _by(policy_gradient.token_ratio, 1e3),
    "unclipped mean ratio": _by(policy_gradient.sequence_mean_ratio, 1e3),
    "sequence ratio x score": _weighted_score,
})
REDUCERS = _jitted({
    "sequence_sum_mean": reduction.sequence_sum_mean,
    "fixed_length_mean": functools.partial(
        reduction.fixed_length_mean, length=2
    ),
    "sequence_mean": reduction.sequence_mean,
    "token_mean": reduction.token_mean,
    "group_mean": reduction.group_mean,
})


@functools.cache  # one function per composition: compiled once
def compose(
    advantage: str = "leave-one-out",
    correction: str = "raw",
    surrogate: str = "score",
    reducer: str = "sequence_sum_mean",
    filtered: bool = False,
) -> enumeration.Estimator:
  """An estimator from the parts named in the tables above."""

  def estimator(log_probs, batch):
    rewards = CORRECTIONS[correction](batch.reward.value, batch.believed)
    known = batch.reward.valid
    advantages = ADVANTAGES[advantage](rewards, known)[..., None]
    mask = batch.rollouts.mask & known[..., None]
    if filtered:
      live = group.informative(batch.reward.value, known)
      mask = mask & live[..., None, None]
    losses = SURROGATES[surrogate](
        log_probs, batch.rollouts.log_probs, advantages, mask
    )
    return REDUCERS[reducer](losses, mask)

  return estimator


@functools.cache
def sequence_ratio_estimator() -> enumeration.Estimator:
  """The product of all ratios, one term per sample (RLOO off-policy)."""

  def estimator(log_probs, batch):
    mask = batch.rollouts.mask
    ratio = policy_gradient.sequence_ratio(
        log_probs, batch.rollouts.log_probs, mask
    )
    advantages = group.leave_one_out(batch.reward.value)[..., None]
    losses = policy_gradient.clipped_surrogate(
        ratio, advantages, clip_low=1e3, clip_high=1e3
    )
    return reduction.sequence_sum_mean(losses, jnp.ones_like(losses, bool))

  return estimator


@functools.cache
def kl_loss_estimator(estimator: str, weighted: bool = False):
  """A KL loss alone; `weighted` by the ratio of each token."""

  def loss(log_probs, batch):
    mask = batch.rollouts.mask
    ratio = policy_gradient.token_ratio(
        log_probs, batch.rollouts.log_probs, mask
    )
    losses = regularizers.kl_loss(
        log_probs,
        batch.reference_log_probs,
        estimator=estimator,
        ratio=ratio if weighted else None,
    )
    return reduction.sequence_sum_mean(losses, mask)

  return loss


@functools.cache
def kl_reward_estimator(advantage: str):
  """k1 subtracted from the reward, summed over the sequence."""

  def loss(log_probs, batch):
    mask = batch.rollouts.mask
    penalty = regularizers.kl_reward_penalty(
        batch.rollouts.log_probs,
        batch.reference_log_probs,
        mask,
        coefficient=worlds.BETA,
    )
    rewards = batch.reward.value + jnp.sum(penalty, -1)
    advantages = ADVANTAGES[advantage](rewards, batch.reward.valid)
    losses = policy_gradient.score_surrogate(log_probs, advantages[..., None])
    return reduction.sequence_sum_mean(losses, mask)

  return loss


@functools.cache
def weight_times_advantage():
  """The trap: the forward weight multiplies a signed advantage."""

  def loss(log_probs, batch):
    weights = corrections.forward_weight(batch.reward.value, batch.believed)
    advantages = weights * group.standardized(batch.reward.value)
    losses = policy_gradient.score_surrogate(log_probs, advantages[..., None])
    return reduction.sequence_sum_mean(losses, batch.rollouts.mask)

  return loss


def recipe(function: Callable, *, with_reference: bool = False, **kwargs):
  """A whole recipe, with its own defaults."""

  def loss(log_probs, batch):
    options = dict(kwargs)
    if with_reference:
      options["reference_log_probs"] = batch.reference_log_probs
    return function(log_probs, batch.rollouts, batch.reward, **options)[0]

  return loss


def gain(advantage: str, world: World, space: Space, n: int, youden=1.0):
  """Expected factor on the clean gradient, from verdicts alone."""
  rate = worlds.success_rate(world, space)
  return youden * exact_gradients.binomial_gain(ADVANTAGES[advantage], rate, n)
