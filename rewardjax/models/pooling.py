"""From features of T positions to features of a sequence.

Positions come from the mask. Masked features may hold anything; a row with
nothing valid gives something finite and meaningless.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking

Features = Float[Array, "*batch T D"]
Mask = Bool[Array, "*batch T"]


def last(features: Features, mask: Mask) -> Float[Array, "*batch D"]:
  """Features of the last valid position.

  Gradient: to that position alone.
  """
  _check("last", features, mask)
  slots = jnp.arange(mask.shape[-1]).reshape((1,) * (mask.ndim - 1) + (-1,))
  index = jnp.max(jnp.where(mask, slots, 0), axis=-1)
  pooled = special(features, index[..., None])[..., 0, :]
  # With nothing valid the position read is padding, which may be NaN.
  some = jnp.any(mask, axis=-1)[..., None]
  return jnp.where(some, pooled, jnp.zeros_like(pooled))


def mean(features: Features, mask: Mask) -> Float[Array, "*batch D"]:
  """Mean over valid positions, float32 or wider.

  Does not depend on their order. To read answers only, mask the prompts.

  Gradient: to the valid positions, equally.
  """
  _check("mean", features, mask)
  wide = jnp.broadcast_to(mask[..., None], features.shape)
  return masking.masked_mean(features, wide, axis=-2)


def position_weighted(
    features: Features, mask: Mask
) -> Float[Array, "*batch D"]:
  """Mean with weights 1, 2, ..., n over the n valid positions.

  Later positions of a causal model have read more.

  Gradient: to the valid positions, by their weights.
  """
  _check("position_weighted", features, mask)
  wide = jnp.broadcast_to(mask[..., None], features.shape)
  filled = masking.fill_masked(features, wide)
  places = jnp.cumsum(mask, axis=-1, dtype=filled.dtype)
  weights = jnp.where(mask, places, jnp.zeros_like(places))
  total = jnp.sum(weights, axis=-1, keepdims=True)
  return masking.safe_divide(
      jnp.sum(weights[..., None] * filled, axis=-2), total
  )


def special(
    features: Features, positions: Int[Array, "*batch M"]
) -> Float[Array, "*batch M D"]:
  """Features of M given positions of each row, such as special tokens.

  Gradient: to those positions.

  Raises:
    ValueError: if the leading axes differ.
  """
  checks.same_shape(
      "special", features=features[..., 0, 0], positions=positions[..., 0]
  )
  return jnp.take_along_axis(features, positions[..., None], axis=-2)


def _check(where, features, mask):
  checks.same_shape(where, features=features[..., 0], mask=mask)
