"""From per-token losses to one `Mean`: the only place where losses are summed.

Every reducer maps `(losses, mask)` of shape `[*batch, T]` to a `Mean` whose
total and weight add over microbatches and devices, so that any split of the
batch gives the loss and the gradient of the whole. A row with no valid token
(an invalid sample) counts nowhere but in `fixed_length_mean`.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.core.masking import Mean


def token_mean(
    losses: Float[Array, "*batch T"], mask: Bool[Array, "*batch T"]
) -> Mean:
  """Every token of the batch weighs the same (DAPO)."""
  checks.same_shape("token_mean", losses=losses, mask=mask)
  return Mean.of(losses, mask)


def sequence_mean(
    losses: Float[Array, "*batch T"], mask: Bool[Array, "*batch T"]
) -> Mean:
  """Mean over sequences of their token mean (the GRPO paper).

  A token of a long sequence weighs less: with advantages of both signs this
  favours short right answers and long wrong ones.
  """
  checks.same_shape("sequence_mean", losses=losses, mask=mask)
  return Mean.of(masking.masked_mean(losses, mask, -1), jnp.any(mask, -1))


def sequence_sum_mean(
    losses: Float[Array, "*batch T"], mask: Bool[Array, "*batch T"]
) -> Mean:
  """Mean over sequences of their token sum (REINFORCE, RLOO)."""
  checks.same_shape("sequence_sum_mean", losses=losses, mask=mask)
  return Mean.of(masking.masked_sum(losses, mask, -1), jnp.any(mask, -1))


def fixed_length_mean(
    losses: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    *,
    length: int,
) -> Mean:
  """Token sums divided by `rows * length`, whatever the mask (Dr. GRPO).

  Args:
    losses: per token.
    mask: True on tokens that count; empty rows still count as rows.
    length: the constant, usually the longest completion allowed (static).

  Raises:
    ValueError: if `length` is not positive.
  """
  checks.same_shape("fixed_length_mean", losses=losses, mask=mask)
  checks.at_least("fixed_length_mean", 1, length=length)
  total = masking.masked_sum(losses, mask)
  rows = math.prod(losses.shape[:-1])
  return Mean(total, jnp.asarray(rows * length, total.dtype))


def group_mean(
    losses: Float[Array, "*batch G T"], mask: Bool[Array, "*batch G T"]
) -> Mean:
  """Mean over prompts of the token mean within their group.

  Microbatches must hold whole groups.
  """
  checks.same_shape("group_mean", losses=losses, mask=mask)
  per_group = masking.masked_mean(losses, mask, (-2, -1))
  return Mean.of(per_group, jnp.any(mask, (-2, -1)))
