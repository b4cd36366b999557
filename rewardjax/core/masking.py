"""Sums and means over the entries that a mask marks as real.

A masked entry may hold anything, NaN and infinity included: `where`, never
`x * mask`, since 0 * nan is nan. Nothing valid gives 0, never NaN.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks
from rewardjax.types import Scalar

Axis = int | tuple[int, ...] | None


def as_accumulator(x: Float[Array, "..."]) -> Float[Array, "..."]:
  """Widens bfloat16 and float16 to float32; float32 and float64 stay."""
  # Not promote_types: with strict promotion it refuses bfloat16.
  wide = jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize >= 4
  return x if wide else x.astype(jnp.float32)


def safe_divide(
    x: Float[Array, "..."], y: Float[Array, "..."]
) -> Float[Array, "..."]:
  """x / y, and 0 where y is 0; the branch not taken stays finite."""
  empty = y == 0
  return jnp.where(empty, 0.0, x / jnp.where(empty, 1.0, y)).astype(x.dtype)


def fill_masked(
    x: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None,
    fill: Scalar = 0.0,
) -> Float[Array, "*shape"]:
  """x where `mask` is True (everywhere if None), `fill` elsewhere; widened."""
  x = as_accumulator(x)
  return x if mask is None else jnp.where(mask, x, fill)


def count(
    x: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Float[Array, "..."]:
  """Number of valid entries along `axis`, in the dtype of widened `x`."""
  mask = jnp.ones(x.shape, bool) if mask is None else mask
  dtype = as_accumulator(x).dtype
  return jnp.sum(mask, axis=axis, keepdims=keepdims, dtype=dtype)


def last_valid(mask: Bool[Array, "*batch T"]) -> Bool[Array, "*batch T"]:
  """True at the last valid entry of each row; nowhere in an empty row."""
  places = jnp.where(mask, jnp.arange(mask.shape[-1]), -1)
  return mask & (places == jnp.max(places, -1, keepdims=True, initial=-1))


def masked_sum(
    x: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Float[Array, "..."]:
  """Sum of the valid entries along `axis`, float32 or wider.

  Gradient: 1 on valid entries, exactly 0 on masked ones.
  """
  checks.same_shape("masked_sum", x=x, mask=mask)
  return jnp.sum(fill_masked(x, mask), axis=axis, keepdims=keepdims)


def masked_mean(
    x: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    axis: Axis = None,
    keepdims: bool = False,
) -> Float[Array, "..."]:
  """Mean of the valid entries along `axis`; 0 where there is none."""
  checks.same_shape("masked_mean", x=x, mask=mask)
  total = masked_sum(x, mask, axis, keepdims)
  return safe_divide(total, count(x, mask, axis, keepdims))


def masked_variance(
    x: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    ddof: int = 0,
) -> Float[Array, "..."]:
  """Variance of the valid entries, by two passes: centre, then square.

  Args:
    x: any shape.
    mask: True for valid entries; None means all are valid.
    axis: what to reduce; None reduces everything.
    keepdims: keeps reduced axes with size 1.
    ddof: the divisor is n - ddof (static); 1 gives the unbiased variance.

  Returns:
    Float32 or wider; 0 where n <= ddof, and exactly 0 where all valid
    entries are equal (one pass, E[x^2] - E[x]^2, would leave a residue).
  """
  checks.same_shape("masked_variance", x=x, mask=mask)
  constant = is_constant(x, mask, axis)
  n = count(x, mask, axis, keepdims=True)
  # Filled before squaring: the gradient of a masked NaN would be NaN.
  x = fill_masked(x, mask)
  centred = x - masked_mean(x, mask, axis, keepdims=True)
  centred = jnp.where(constant, 0.0, centred)
  total = masked_sum(jnp.square(centred), mask, axis, keepdims)
  divisor = jnp.maximum(n - ddof, 0)
  return safe_divide(total, divisor.reshape(total.shape))


def is_constant(
    x: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    axis: Axis = None,
) -> Bool[Array, "..."]:
  """True where all valid entries are equal, decided by max == min exactly.

  Also True with no or one valid entry. Reduced axes are kept with size 1.
  A tolerance on a computed std would call rounding noise a signal.
  """
  checks.same_shape("is_constant", x=x, mask=mask)
  reduce = dict(axis=axis, keepdims=True)
  high = jnp.max(fill_masked(x, mask, -jnp.inf), **reduce, initial=-jnp.inf)
  low = jnp.min(fill_masked(x, mask, jnp.inf), **reduce, initial=jnp.inf)
  return high <= low


def masked_whiten(
    x: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    axis: Axis = None,
    *,
    epsilon: Scalar = 1e-8,
    ddof: int = 1,
    shift_mean: bool = True,
) -> Float[Array, "*shape"]:
  """(x - mean) / sqrt(variance + epsilon) over the valid entries.

  Args:
    x: any shape.
    mask: True for valid entries.
    axis: statistics are taken over these axes; None means all.
    epsilon: added to the variance; 0 is allowed.
    ddof: of the variance.
    shift_mean: False adds the mean back, so that only the scale changes.

  Returns:
    Float32 or wider, 0 on masked entries, and 0 (or the mean) where all
    valid entries are equal.
  """
  checks.same_shape("masked_whiten", x=x, mask=mask)
  mean = masked_mean(x, mask, axis, keepdims=True)
  variance = masked_variance(x, mask, axis, keepdims=True, ddof=ddof)
  constant = is_constant(x, mask, axis)
  centred = jnp.where(constant, 0.0, fill_masked(x, mask) - mean)
  # Under the root, since its gradient at 0 is infinite.
  variance = jnp.where(constant, 1.0, variance)
  whitened = centred / jnp.sqrt(variance + epsilon)
  return fill_masked(whitened if shift_mean else whitened + mean, mask)


class Mean(NamedTuple):
  """A weighted mean kept as two sums, so that partial means add exactly.

  Add or `psum` both fields over microbatches or devices; read `value` last.
  """

  total: Float[Array, ""]
  weight: Float[Array, ""]

  @classmethod
  def of(
      cls,
      values: Float[Array, "*shape"],
      mask: Bool[Array, "*shape"] | None = None,
  ) -> "Mean":
    """Sums `values` where `mask` is True (everywhere if None) in float32."""
    checks.same_shape("Mean.of", values=values, mask=mask)
    return cls(masked_sum(values, mask), count(values, mask))

  def merge(self, other: "Mean") -> "Mean":
    """The mean over both parts."""
    return Mean(self.total + other.total, self.weight + other.weight)

  def scale(self, factor: Scalar) -> "Mean":
    """The mean of `factor` times the values."""
    return Mean(self.total * factor, self.weight)

  @property
  def value(self) -> Float[Array, ""]:
    """total / weight, and 0 when nothing was counted."""
    return safe_divide(self.total, self.weight)
