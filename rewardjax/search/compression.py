"""Trees of steps with some steps merged into the one before them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from rewardjax.core import checks, random
from rewardjax.types import Scalar


class Compressed(NamedTuple):
  """A tree in which some nodes moved up to their grandparent.

  parents: of each node; negative for a root.
  merged: the former parent, whose step now begins that of the node; -1 for
    nodes that stayed.
  """

  parents: Int[Array, " M"]
  merged: Int[Array, " M"]


def node_compression(
    key: Key[Array, ""],
    parents: Int[Array, " M"],
    *,
    probability: Scalar = 0.5,
    min_children: int = 4,
) -> Compressed:
  """Moves at most one child of each large node up, two steps becoming one.

  Leaves stay leaves and keep their whole text, and no node loses all its
  children. Count the scores anew (`tree_mc_scores`): only the nodes that lost
  a child have other ones. More steps of more lengths from the same rollouts.

  Args:
    key: consumed.
    parents: of each node, always an earlier one; negative for a root, whose
      children have nowhere to go.
    probability: that a node which can give a child does.
    min_children: a node with fewer keeps them all (static).

  Raises:
    ValueError: if `probability` is none, or `min_children` is less than 2.

  References:
    "Towards Hierarchical Multi-Step Reward Models" (HRM).
  """
  keys = random.split_named(key, "gives", "which")
  draw = lambda name: jax.random.uniform(keys[name], parents.shape)
  return compress(
      parents,
      draw("gives"),
      draw("which"),
      probability=probability,
      min_children=min_children,
  )


def compress(
    parents: Int[Array, " M"],
    gives: Float[Array, " M"],
    which: Float[Array, " M"],
    *,
    probability: Scalar = 0.5,
    min_children: int = 4,
) -> Compressed:
  """`node_compression` with its draws as arguments.

  Args:
    parents: as there.
    gives: in [0, 1); a node gives a child up where it is below `probability`.
    which: in [0, 1); of a node's children the one with the least goes.
    probability: as there.
    min_children: as there.
  """
  where = "node_compression"
  checks.probability(where, probability=probability)
  checks.at_least(where, 2, min_children=min_children)
  checks.same_shape(where, parents=parents, gives=gives, which=which)
  size = parents.shape[0]
  above = jnp.where(parents >= 0, parents, size)  # a root's is out of range
  children = jnp.zeros(size, jnp.int32).at[above].add(1, mode="drop")
  able = (children >= min_children) & (parents >= 0) & (gives < probability)
  least = jnp.full(size, jnp.inf, which.dtype)
  least = least.at[above].min(which, mode="drop")
  inside = jnp.maximum(parents, 0)
  goes = (parents >= 0) & able[inside] & (which == least[inside])
  # Equal draws: the first of them goes.
  place = jnp.arange(size)
  first = jnp.full(size, size).at[jnp.where(goes, above, size)].min(
      place, mode="drop"
  )
  goes = goes & (first[inside] == place)
  return Compressed(
      jnp.where(goes, parents[inside], parents), jnp.where(goes, parents, -1)
  )


def merged_texts(
    merged: Iterable, texts: Sequence[str], *, separator: str = ""
) -> list[str]:
  """The step of each node after `node_compression`.

  Args:
    merged: of `Compressed`.
    texts: the steps before it.
    separator: what stands between two steps; where steps do not end with it,
      joining them without it would change their tokens.

  Raises:
    ValueError: if the numbers of nodes differ.
  """
  merged = np.array(list(merged))
  checks.same_shape("merged_texts", merged=merged, texts=np.empty(len(texts)))
  return [
      text if former < 0 else texts[former] + separator + text
      for former, text in zip(merged, texts)
  ]
