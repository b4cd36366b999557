"""How far a reward model keeps the answers to one prompt apart."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking


def meta_difference(
    rewards: Float[Array, "*batch K"],
    mask: Bool[Array, "*batch K"] | None = None,
) -> Float[Array, "*batch"]:
  """(2 / k^2) sum over pairs i < j of sigmoid(|r_i - r_j|), k valid answers.

  To be raised on answers of the current policy, so that a reward model keeps
  telling apart what it is asked about now.

  Args:
    rewards: of K answers to one prompt.
    mask: True for real answers; None means all.

  Returns:
    From (k - 1) / 2k where all are equal to (k - 1) / k; float32 or wider, 0
    for fewer than two answers.

  Gradient: flows through `rewards`; 0 between equal ones.

  Raises:
    ValueError: if shapes differ.

  References:
    "Secrets of RLHF in Large Language Models Part II: Reward Modeling"
      (MetaRM).
  """
  checks.same_shape("meta_difference", rewards=rewards, mask=mask)
  mask = jnp.ones(rewards.shape, bool) if mask is None else mask
  r = masking.fill_masked(rewards, mask)
  apart = jax.nn.sigmoid(jnp.abs(r[..., :, None] - r[..., None, :]))
  pairs = mask[..., :, None] & mask[..., None, :]
  pairs = pairs & ~jnp.broadcast_to(jnp.eye(mask.shape[-1], dtype=bool),
                                    pairs.shape)
  total = masking.masked_sum(apart, pairs, (-2, -1))  # each pair twice
  return masking.safe_divide(total, masking.count(r, mask, -1) ** 2)
