"""How good a ranked list is when one item is right."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks


def _hits(where, items, target, mask, k):
  checks.same_shape(where, items=items, mask=mask)
  checks.same_shape(where, target=target, lists=items[..., 0])
  checks.at_least(where, 1, k=k)
  hits = items == target[..., None]
  hits = hits if mask is None else hits & mask
  return hits[..., :k]


def hit_rate(
    items: Int[Array, "*batch N"],
    target: Int[Array, "*batch"],
    mask: Bool[Array, "*batch N"] | None = None,
    *,
    k: int,
) -> Float[Array, "*batch"]:
  """1 where the right item is among the first k, else 0 (HR@k).

  Args:
    items: best first.
    target: the right one.
    mask: False for entries that are no item.
    k: static.
  """
  hits = _hits("hit_rate", items, target, mask, k)
  return jnp.any(hits, axis=-1).astype(jnp.float32)


def ndcg(
    items: Int[Array, "*batch N"],
    target: Int[Array, "*batch"],
    mask: Bool[Array, "*batch N"] | None = None,
    *,
    k: int,
) -> Float[Array, "*batch"]:
  """1 / log2(rank + 2) of the right item's first place, rank from 0 (NDCG@k).

  Args: as `hit_rate`. An item that comes twice counts once.
  """
  hits = _hits("ndcg", items, target, mask, k)
  rank = jnp.argmax(hits, axis=-1).astype(jnp.float32)
  return jnp.where(jnp.any(hits, axis=-1), 1 / jnp.log2(rank + 2), 0.0)


def distinct(
    items: Int[Array, "*batch N"], mask: Bool[Array, "*batch N"] | None = None
) -> Int[Array, "*batch"]:
  """How many different items a list holds."""
  checks.same_shape("distinct", items=items, mask=mask)
  mask = jnp.ones(items.shape, bool) if mask is None else mask
  same = items[..., :, None] == items[..., None, :]
  # Cut below the diagonal: equal to an earlier entry.
  earlier = jnp.tril(same & mask[..., None, :], -1)
  repeated = jnp.any(earlier, axis=-1)
  return jnp.sum(mask & ~repeated, axis=-1)
