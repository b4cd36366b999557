"""Weights for tokens that another distribution drew than the trainer thinks.

Sampler and trainer may compute different log-probs for the same tokens under
the same parameters (other kernels, another precision, stale weights). With
r = trainer / sampler per token, three levels of one ratio:

    token       r_t
    sequence    prod_t r_t, at every token of the sequence
    geometric   (prod_t r_t)^(1 / length), at every token of the sequence

Only the sequence level is unbiased before it is bounded; the token level has
a bias that grows with length, the geometric one is a test, not a weight.
Multiply advantages by a weight (every surrogate here is homogeneous in them),
or drop what `within_bounds` rejects from the mask.

References:
  Espeholt et al., "IMPALA", 2018, arXiv:1802.01561 (truncation).
  Yao et al., "Your Efficient RL Framework Secretly Brings You Off-Policy RL
    Training", 2025 (TIS).
"""

from typing import Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, divergences, masking, numerics
from rewardjax.core.masking import Mean
from rewardjax.types import Scalar

Level = Literal["token", "sequence", "geometric"]


def sampler_ratio(
    trainer_log_probs: Float[Array, "*batch T"],
    sampler_log_probs: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    level: Level = "token",
    bound: float = 20.0,
) -> Float[Array, "*batch T"]:
  """trainer / sampler at the given level; 1 on masked tokens.

  Args:
    trainer_log_probs: of the sampled tokens, recomputed by the trainer with
      the parameters that sampled.
    sampler_log_probs: as the sampler reported them.
    mask: True on sampled tokens.
    level: see above (static).
    bound: the log-ratio is clipped to +-bound, after the sum or mean.

  Gradient: flows through both.

  Raises:
    ValueError: if shapes differ, or `level` is unknown.
  """
  where = "sampler_ratio"
  checks.one_of(where, get_args(Level), level=level)
  checks.same_shape(
      where,
      trainer_log_probs=trainer_log_probs,
      sampler_log_probs=sampler_log_probs,
      mask=mask,
  )
  difference = masking.fill_masked(trainer_log_probs, mask)
  difference = difference - masking.fill_masked(sampler_log_probs, mask)
  if level != "token":
    reduce = masking.masked_sum if level == "sequence" else masking.masked_mean
    summary = reduce(difference, mask, -1, keepdims=True)
    difference = jnp.broadcast_to(summary, difference.shape)
  ratio = numerics.bounded_exp(difference, bound)
  return masking.fill_masked(ratio, mask, 1.0)


def truncated_weights(
    trainer_log_probs: Float[Array, "*batch T"],
    sampler_log_probs: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    cap: Scalar,
    level: Level = "token",
) -> Float[Array, "*batch T"]:
  """min(trainer / sampler, cap) (TIS).

  Args: as `sampler_ratio`; `cap` is the largest weight, usually 2.
  """
  checks.within("truncated_weights", 0.0, low_open=True, cap=cap)
  ratio = sampler_ratio(
      trainer_log_probs, sampler_log_probs, mask, level=level
  )
  return jnp.minimum(ratio, cap)


def within_bounds(
    trainer_log_probs: Float[Array, "*batch T"],
    sampler_log_probs: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    low: Scalar,
    high: Scalar,
    level: Level = "token",
) -> Bool[Array, "*batch T"]:
  """True where low <= trainer / sampler <= high.

  Args: as `sampler_ratio`. At the geometric level whole sequences are kept or
    dropped, by a criterion that does not depend on their length.
  """
  ratio = sampler_ratio(
      trainer_log_probs, sampler_log_probs, mask, level=level
  )
  return (ratio >= low) & (ratio <= high)


def masked_weights(
    trainer_log_probs: Float[Array, "*batch T"],
    sampler_log_probs: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    low: Scalar,
    high: Scalar,
    level: Level = "token",
) -> Float[Array, "*batch T"]:
  """trainer / sampler where it lies in [low, high], else 0 (MIS).

  Args: as `within_bounds`.
  """
  ratio = sampler_ratio(
      trainer_log_probs, sampler_log_probs, mask, level=level
  )
  return jnp.where((ratio >= low) & (ratio <= high), ratio, 0.0)


def sampler_gap(
    trainer_log_probs: Float[Array, "*batch T"],
    sampler_log_probs: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
) -> dict[str, Mean]:
  """How far sampler and trainer disagree; all 0 if they do not.

  Returns:
    `sampler_gap`, the mean |log-prob difference| in nats, and `sampler_kl`,
    an estimate of KL(sampler || trainer) per token.
  """
  trainer = masking.fill_masked(trainer_log_probs, mask)
  sampler = masking.fill_masked(sampler_log_probs, mask)
  return {
      "sampler_gap": Mean.of(jnp.abs(trainer - sampler), mask),
      "sampler_kl": Mean.of(divergences.k3(sampler, trainer), mask),
  }
