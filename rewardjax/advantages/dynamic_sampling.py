"""Refilling a batch with informative groups, for dynamic sampling."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree


class FilledGroups(NamedTuple):
  """A buffer of groups after `fill_groups`; `num_dead` slots are not live."""

  groups: PyTree
  live: Bool[Array, " B"]
  num_dead: Int[Array, ""]


def fill_groups(
    groups: PyTree,
    live: Bool[Array, " B"],
    fresh: PyTree,
    fresh_live: Bool[Array, " F"],
) -> FilledGroups:
  """Moves live groups of a fresh batch into the dead slots of a buffer.

  Live slots stay as they are; dead ones take the live fresh groups in order,
  as far as these reach. Pure, with static shapes: it serves a host loop as
  well as a `lax.while_loop` over `(groups, live, attempts)` that stops when
  nothing is dead or the attempts are spent. What is dead then must be kept
  out of the loss by `live`: it would dilute the denominators.

  Args:
    groups: arrays `[B, ...]`: rollouts, rewards, whatever belongs together.
    live: which slots hold an informative group.
    fresh: the same tree with arrays `[F, ...]`.
    fresh_live: which of the fresh groups are informative.

  Raises:
    ValueError: if the two trees differ in structure.

  References:
    Yu et al., "DAPO", 2025, arXiv:2503.14476, Algorithm 1.
  """
  trees = jax.tree.structure(groups), jax.tree.structure(fresh)
  if trees[0] != trees[1]:
    raise ValueError(
        "fill_groups: fresh must have the structure of groups, got "
        f"{trees[1]} for {trees[0]}."
    )
  rank = jnp.cumsum(~live) - 1  # of a dead slot among the dead ones
  order = jnp.argsort(~fresh_live, stable=True)  # live fresh groups first
  filled = ~live & (rank < jnp.sum(fresh_live))
  source = order[jnp.clip(rank, 0, fresh_live.size - 1)]

  def merge(old, new):
    chosen = filled.reshape(filled.shape + (1,) * (old.ndim - 1))
    return jnp.where(chosen, new[source], old)

  live = live | filled
  return FilledGroups(
      jax.tree.map(merge, groups, fresh), live, jnp.sum(~live)
  )
