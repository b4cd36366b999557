"""Rewards that depend on a sample's place in its group."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking, statistics
from rewardjax.types import Scalar


def unlikeliness(
    rewards: Float[Array, "*batch G"],
    log_probs: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
    *,
    coefficient: Scalar = 0.25,
) -> Float[Array, "*batch G"]:
  """r (1 - coefficient rank / n): among right answers the rare ones pay more.

  The rank is that of the sample's likelihood among the n valid samples of its
  group, right and wrong, 0 for the least likely. A reward of 0 stays 0; one
  below 0 would be paid back for being likely, so rewards are at least 0.

  Args:
    rewards: one scalar per sample, not negative, in reward units.
    log_probs: of each sample under the policy that drew it, per token: the
      mean, not the sum, which would rank by length.
    mask: True for valid samples; None means all are valid.
    coefficient: in [0, 1]; 0 changes nothing.

  Returns:
    Rewards in reward units, float32 or wider; 0 for invalid samples.

  Gradient: flows through `rewards`.

  Raises:
    ValueError: if shapes differ, or `coefficient` is not in [0, 1].

  References:
    He et al., "Rewarding the Unlikely: Lifting GRPO Beyond Distribution
      Sharpening". As in its released code, the least likely sample keeps its
      whole reward. Differs from it: equally likely samples, such as two
      copies of one answer, share the mean of their ranks.
  """
  where = "unlikeliness"
  checks.same_shape(where, rewards=rewards, log_probs=log_probs, mask=mask)
  checks.probability(where, coefficient=coefficient)
  rank = statistics.ranks(log_probs, mask, average=True)
  count = masking.count(log_probs, mask, -1, keepdims=True)
  share = masking.safe_divide(rank, count)
  return masking.fill_masked(rewards, mask) * (1 - coefficient * share)


def dcg_weights(num: int) -> Float[Array, " N"]:
  """1 / log2(k + 2) for rank k = 0 .. N-1, scaled to sum to 1.

  References:
    Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR
      techniques", 2002.
  """
  checks.at_least("dcg_weights", 1, num=num)
  weights = 1 / jnp.log2(jnp.arange(num, dtype=jnp.float32) + 2)
  return weights / jnp.sum(weights)


def dcg_penalty(
    hits: Bool[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
    *,
    ranks: Int[Array, "*batch N"] | None = None,
) -> Float[Array, "*batch N"]:
  """Minus the weight of its rank for every miss, if the group has a hit.

  So a confident miss costs more than a late one. Without a hit all are 0:
  the group then has no gradient.

  Args:
    hits: right samples.
    mask: True for valid samples; others are neither hit nor miss.
    ranks: of each sample, 0 the most confident; None: they are in order. Give
      them where samples may have been reordered.

  Returns:
    Reward units, to be added; 0 for hits and where masked.

  Gradient: none.

  References:
    "Reinforced Preference Optimization for Recommendation" (ReRe).
  """
  checks.same_shape("dcg_penalty", hits=hits, mask=mask, ranks=ranks)
  mask = jnp.ones(hits.shape, bool) if mask is None else mask
  num = hits.shape[-1]
  weights = dcg_weights(num)
  if ranks is None:
    ranks = jnp.broadcast_to(jnp.arange(num), hits.shape)
  some = jnp.any(hits & mask, axis=-1, keepdims=True)
  # A rank outside 0 .. N-1 is a caller's mistake; it costs like the last one.
  cost = weights[jnp.clip(ranks, 0, num - 1)]
  return jnp.where(some & mask & ~hits, -cost, 0.0)
