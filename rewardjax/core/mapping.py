"""Questions whose answer is one for all members of a `vmap`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool


@jax.custom_batching.custom_vmap
def any_mapped(x: Bool[Array, "..."]) -> Bool[Array, ""]:
  """Whether anything is True, here and in every member of a `vmap`.

  Under `vmap` a loop whose condition is mapped copies its whole state at
  every turn, and a branch whose predicate is mapped runs both sides; this
  answer stays one scalar.
  """
  return jnp.any(x)


@any_mapped.def_vmap
def _any_mapped(axis_size, in_batched, x):
  del axis_size, in_batched
  return any_mapped(x), False


def all_mapped(x: Bool[Array, "..."]) -> Bool[Array, ""]:
  """Whether everything is True, here and in every member of a `vmap`."""
  return ~any_mapped(~x)
