"""Generators that must keep to a condition, by a reward that may be wrong."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks
from rewardjax.core.masking import Mean
from rewardjax.shaping import combination
from rewardjax.types import Scalar


def ctrl_u(
    losses: Float[Array, " N *pixels"],
    uncertainties: Float[Array, " N *pixels"],
    t: Float[Array, " N"],
    mask: Bool[Array, " N *pixels"] | None = None,
    *,
    max_time: Scalar = 0.4,
    coefficient: Scalar = 0.0,
) -> Mean:
  """Mean of exp(-u) loss + coefficient u over pixels that are rewarded.

  To be added to the denoising loss, with a weight that grows from 0.

  Args:
    losses: of the reading of `one_step_x0` against the condition.
    uncertainties: see `rewards.paired`.
    t: noise levels; those above `max_time` are too noisy to be read.
    mask: True for pixels with a label; None means all.
    max_time: of [0, 1].
    coefficient: of the uncertainty itself, averaged over the same pixels.

  Gradient: flows through losses and uncertainties.

  Raises:
    ValueError: if shapes do not fit or `max_time` is not in [0, 1].

  References:
    "Ctrl-U: Robust Conditional Image Generation via Uncertainty-aware Reward
      Modeling".
  """
  checks.probability("ctrl_u", max_time=max_time)
  checks.same_shape("ctrl_u", t=t, rows=losses.reshape(len(losses), -1)[:, 0])
  early = (t <= max_time).reshape(t.shape + (1,) * (losses.ndim - 1))
  read = jnp.broadcast_to(early, losses.shape)
  read = read if mask is None else read & mask
  weighted = combination.uncertainty_weighted(
      losses, uncertainties, read, coefficient=coefficient
  )
  return Mean.of(weighted, read)
