"""How far a perception model can be trusted: two readings of near pictures.

A model that is used as a reward is wrong on odd generations. Shown two that
are almost the same, it then tends to say two things.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, divergences, masking
from rewardjax.types import Scalar


def class_uncertainty(
    first: Float[Array, "*batch K"],
    second: Float[Array, "*batch K"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    scale: Scalar = 1.0,
) -> Float[Array, "*batch"]:
  """scale KL(second || first) of two readings of K classes, per pixel.

  Args:
    first: logits for the generation whose loss is to be weighed.
    second: logits for the other one.
    mask: True for pixels with a label; None means all.
    scale: per nat.

  Returns:
    At least 0, float32 or wider; 0 for equal readings and where masked.

  Gradient: flows through both.

  Raises:
    ValueError: if shapes differ.

  References:
    "Ctrl-U: Robust Conditional Image Generation via Uncertainty-aware Reward
      Modeling".
  """
  where = "class_uncertainty"
  checks.same_shape(where, first=first, second=second)
  checks.same_shape(where, pixels=first[..., 0], mask=mask)
  wide = None
  if mask is not None:
    wide = jnp.broadcast_to(mask[..., None], first.shape)
  read = lambda x: masking.fill_masked(x, wide)
  return scale * divergences.categorical_kl(read(second), read(first))


def value_uncertainty(
    first: Float[Array, "*shape"],
    second: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    *,
    scale: Scalar = 1.0,
) -> Float[Array, "*shape"]:
  """scale |first - second| of two readings of a quantity, such as depth.

  Args: as `class_uncertainty`; `scale` per unit of the quantity.

  Gradient: flows through both; 0 where they are equal.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("value_uncertainty", first=first, second=second, mask=mask)
  gap = masking.fill_masked(first, mask) - masking.fill_masked(second, mask)
  return scale * jnp.abs(gap)
