"""Members side by side, and questions whose answer is one for all of them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool


def over_members(
    function: Callable,
    in_axes: tuple[int | None, ...],
    axis_name: str | None = None,
) -> Callable:
  """`jax.vmap`, but one member alone is computed without a batch axis.

  An axis of one costs XLA's CPU backend a tenth of a training step.

  Args:
    function: of one member; it talks to others over `axis_name` only where
      there are others.
    in_axes: of its positional arguments: 0, or None for all members alike.
    axis_name: as that of `jax.vmap`.
  """

  def mapped(*args):
    own = [x for axis, x in zip(in_axes, args, strict=True) if axis == 0]
    if jax.tree.leaves(own)[0].shape[0] > 1:
      return jax.vmap(function, in_axes, axis_name=axis_name)(*args)
    first = lambda axis, x: x if axis is None else jax.tree.map(
        lambda leaf: leaf[0], x
    )
    found = function(*map(first, in_axes, args))
    return jax.tree.map(lambda leaf: jnp.expand_dims(leaf, 0), found)

  return mapped


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
