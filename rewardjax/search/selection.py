"""Choosing one of N candidates of a prompt by its score; N is the last axis."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking


def best_of_n(
    scores: Float[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
) -> Int[Array, "*batch"]:
  """Index of the highest score, the first of equal ones; -1 if none is valid.

  Args:
    scores: higher is better; NaN is never chosen.
    mask: True for real candidates; None means all.

  Gradient: none.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("best_of_n", scores=scores, mask=mask)
  valid = ~jnp.isnan(scores) if mask is None else mask & ~jnp.isnan(scores)
  filled = masking.fill_masked(scores, valid, -jnp.inf)
  # A valid -inf must win over a masked entry before it.
  most = jnp.max(filled, axis=-1, keepdims=True, initial=-jnp.inf)
  places = jnp.arange(scores.shape[-1])
  size = scores.shape[-1]
  winning = jnp.where(valid & (filled == most), places, size)
  first = jnp.min(winning, axis=-1, initial=size)
  return jnp.where(first < size, first, -1)
