"""Undoing errors between K classes or grades, given their transition matrix.

A class is worth `values[k]`; a sample observed in class k earns
`backward_values(transition, values)[k]`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def _product(transition, values):
  exact = jax.lax.Precision.HIGHEST  # not bfloat16 on accelerators
  return jnp.matmul(transition, values[..., None], precision=exact)[..., 0]


def backward_values(
    transition: Float[Array, "*batch K K"],
    values: Float[Array, "*#batch K"],
    *,
    ridge: Scalar = 0.0,
) -> Float[Array, "*batch K"]:
  """Rewards u of the observed classes with E[u | true class] = values.

      u = argmin |T u - values|^2 + ridge |u|^2

  For two classes it is `backward_reward`. Nearly singular T: directions that
  it destroys are left at 0 (the pseudo-inverse), a ridge shrinks those that
  it nearly destroys; both bias the rewards, by `backward_residual` at most.

  Args:
    transition: T, P(observed column | true row); rows sum to 1.
    values: of the true classes, in reward units.
    ridge: at least 0; trades variance for bias.

  Returns:
    Values of the observed classes, float32 or wider.

  Gradient: flows through `transition` and `values`.

  Raises:
    ValueError: if shapes do not fit or `ridge` is negative.
  """
  _check("backward_values", transition, values)
  checks.at_least("backward_values", 0.0, ridge=ridge)
  transition = masking.as_accumulator(transition)
  values = masking.as_accumulator(values)
  # Stacked, the ridge needs no T^T T, which would square the condition number.
  weight = jnp.sqrt(jnp.asarray(ridge, transition.dtype))
  eye = jnp.eye(transition.shape[-1], dtype=transition.dtype)
  rows = jnp.broadcast_to(weight * eye, transition.shape)
  inverse = jnp.linalg.pinv(jnp.concatenate([transition, rows], axis=-2))
  values = jnp.broadcast_to(values, transition.shape[:-1])
  return _product(inverse[..., : values.shape[-1]], values)


def backward_residual(
    transition: Float[Array, "*batch K K"],
    values: Float[Array, "*#batch K"],
    corrected: Float[Array, "*#batch K"],
) -> Float[Array, "*batch"]:
  """max |T corrected - values|: the largest bias of any true class.

  In reward units; 0 up to rounding when the correction is exact.
  """
  _check("backward_residual", transition, corrected)
  shape = transition.shape[:-1]
  values = jnp.broadcast_to(values, shape)
  mean = _product(transition, jnp.broadcast_to(corrected, shape))
  return jnp.max(jnp.abs(mean - values), axis=-1)


def class_variance(
    transition: Float[Array, "*batch K K"],
    corrected: Float[Array, "*#batch K"],
) -> Float[Array, "*batch K"]:
  """Variance of `corrected[observed class]` given each true class."""
  _check("class_variance", transition, corrected)
  corrected = jnp.broadcast_to(corrected, transition.shape[:-1])
  mean = _product(transition, corrected)
  square = jnp.square(corrected[..., None, :] - mean[..., None])
  return jnp.sum(transition * square, axis=-1)


def _check(where: str, transition: Array, values: Array) -> None:
  if transition.shape[-1] != transition.shape[-2]:
    raise ValueError(
        f"{where}: transition must be square, got {transition.shape}."
    )
  checks.broadcasts_to(where, transition.shape[:-1], values=values)
