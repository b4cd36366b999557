"""Learning from samples of older parameters, or of another sampler."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.advantages import off_policy
from rewardjax.core import checks
from rewardjax.core.masking import Mean
from rewardjax.recipes.credit import Credit
from rewardjax.types import Rollouts, Scalar

Correction = Literal["none", "truncated", "masked"]


def decouple(
    rollouts: Rollouts,
    credit: Credit,
    trainer_log_probs: Float[Array, "B G T"],
    *,
    correction: Correction = "truncated",
    level: off_policy.Level = "token",
    cap: Scalar = 2.0,
) -> tuple[Rollouts, Credit, dict[str, Mean]]:
  """Rollouts as if the present parameters had drawn them, weighed.

  Importance weights trainer / sampler undo the distance between the sampler
  and the parameters at the start of an update; the ratio of a clipped
  surrogate then bounds the update's own steps alone. One can be wide and the
  other narrow.

  Args:
    rollouts: with the sampler's log-probs.
    credit: of these rollouts.
    trainer_log_probs: of the sampled tokens under the parameters at the start
      of the update.
    correction: "truncated" bounds the weights by `cap`, "masked" makes those
      above `cap` or below its inverse 0, "none" leaves all at 1 (static).
    level: of the ratio: see `advantages.off_policy` (static).
    cap: the largest weight; infinity never truncates.

  Returns:
    Rollouts with the trainer's log-probs, credit with weighed advantages, and
    metrics over the tokens of `credit.mask`: `sampler_gap`, `sampler_kl`,
    `staleness_weight` (the mean) and `staleness_clipped` (the share of
    weights that `cap` changed).

  Gradient: none; everything here is data.

  Raises:
    ValueError: if `correction` or `level` is unknown, or cap < 1.

  References:
    Hilton et al., "Batch size-invariance for policy optimization", 2021,
      arXiv:2110.00641 (decoupled objectives).
    Fu et al., "AReaL", 2025, arXiv:2505.24298 (for language models).
  """
  checks.one_of("decouple", get_args(Correction), correction=correction)
  checks.within("decouple", 1.0, cap=cap)
  mask = credit.mask
  trainer, sampler = jax.lax.stop_gradient(
      (trainer_log_probs, rollouts.log_probs)
  )
  ratio = off_policy.sampler_ratio(trainer, sampler, mask, level=level)
  low = 1.0 / cap if correction == "masked" else 0.0
  clipped = (ratio > cap) | (ratio < low)
  weights = {
      "none": jnp.ones_like(ratio),
      "truncated": jnp.minimum(ratio, cap),
      "masked": jnp.where(clipped, 0.0, ratio),
  }[correction]
  metrics = off_policy.sampler_gap(trainer, sampler, mask) | {
      "staleness_weight": Mean.of(weights, mask),
      "staleness_clipped": Mean.of(clipped.astype(weights.dtype), mask),
  }
  credit = credit._replace(advantages=credit.advantages * weights)
  return rollouts._replace(log_probs=trainer), credit, metrics
