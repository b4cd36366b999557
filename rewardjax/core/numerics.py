"""Helpers whose values and gradients are finite at the edges, or cheaper."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def log1mexp(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """log(1 - exp(x)) for x <= 0, accurate near 0 and far from it.

  Returns -inf at 0; the gradient there is -inf as well, not NaN.
  """
  x = masking.as_accumulator(x)
  near = x > -0.6931472
  # Each branch sees only arguments that it can bear. `0.0 -`, not `-`: the
  # logarithm of -0.0 has the gradient of the wrong sign.
  small = jnp.log(0.0 - jnp.expm1(jnp.where(near, x, -1.0)))
  large = jnp.log1p(-jnp.exp(jnp.where(near, -1.0, x)))
  return jnp.where(near, small, large)


def log_mean_exp(
    x: Float[Array, "*batch N"], mask: Bool[Array, "*batch N"] | None = None
) -> Float[Array, "*batch"]:
  """log of the mean of exp over the last axis; -inf if nothing is valid."""
  checks.same_shape("log_mean_exp", x=x, mask=mask)
  n = masking.count(x, mask, -1)
  filled = masking.fill_masked(x, mask, -jnp.inf)
  total = jax.nn.logsumexp(filled, axis=-1)
  return jnp.where(n > 0, total - jnp.log(jnp.maximum(n, 1)), -jnp.inf)


def bounded_exp(
    x: Float[Array, "*shape"], bound: Scalar = 20.0
) -> Float[Array, "*shape"]:
  """exp(clip(x, -bound, bound)): a ratio of probabilities that cannot overflow.

  Gradient: 0 outside the bound.
  """
  return jnp.exp(jnp.clip(masking.as_accumulator(x), -bound, bound))


def sign_floor(
    x: Float[Array, "*shape"], floor: Scalar
) -> Float[Array, "*shape"]:
  """x with its magnitude raised to at least `floor`; the sign of 0 is +."""
  sign = jnp.where(x < 0, -1.0, 1.0).astype(x.dtype)
  return sign * jnp.maximum(jnp.abs(x), floor)


@jax.custom_jvp
def outer(
    x: Float[Array, "*batch M 1"], y: Float[Array, " D"]
) -> Float[Array, "*batch M D"]:
  """x * y, whose gradients are products of matrices.

  As sums that XLA's CPU backend merges into its neighbours they take several
  times as long.
  """
  return x * y.reshape((1,) * (x.ndim - 1) + y.shape)


@functools.partial(outer.defjvp, symbolic_zeros=True)
def _outer_jvp(primals, tangents):
  (x, y), (x_dot, y_dot) = primals, tangents
  # Accelerators would round the factors.
  product = functools.partial(jnp.dot, precision=jax.lax.Precision.HIGHEST)
  is_zero = lambda t: isinstance(t, jax.custom_derivatives.SymbolicZero)
  change = jnp.zeros_like(outer(x, y))
  if not is_zero(x_dot):
    change += product(x_dot, y[None])
  if not is_zero(y_dot):
    change += product(x, y_dot[None])
  return outer(x, y), change
