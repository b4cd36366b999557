"""Rewards that depend on the rank of a sample in its group."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks


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
