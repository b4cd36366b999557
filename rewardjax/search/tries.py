"""Prefix trees over token sequences, as tables that compiled code can read."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from rewardjax.core import checks


class Trie(NamedTuple):
  """S nodes of a prefix tree over V tokens; node 0 is the root.

  children: node that a token leads to, -1 where it is not allowed.
  item: number of the sequence that ends at a node, else -1.
  """

  children: Int[Array, "S V"]
  item: Int[Array, " S"]


def prefix_trie(
    sequences: Sequence[Sequence[int]], *, vocab_size: int
) -> Trie:
  """The tree of the given sequences, built on the host.

  Args:
    sequences: token ids of each item, all distinct. None may begin another:
      what follows its end would be undecided. Append an end token if so.
    vocab_size: V.

  Raises:
    ValueError: if there is no sequence, or one is empty, repeated, the
      beginning of another, or outside the vocabulary.
  """
  checks.at_least("prefix_trie", 1, sequences=len(sequences))
  children, items = [np.full(vocab_size, -1, np.int32)], [-1]
  for i, sequence in enumerate(sequences):
    if not len(sequence):
      raise ValueError(f"prefix_trie: sequence {i} is empty.")
    node = 0
    for token in map(int, sequence):
      if not 0 <= token < vocab_size:
        raise ValueError(
            f"prefix_trie: sequence {i} holds token {token}, outside a "
            f"vocabulary of {vocab_size}."
        )
      if children[node][token] < 0:
        children[node][token] = len(children)
        children.append(np.full(vocab_size, -1, np.int32))
        items.append(-1)
      node = children[node][token]
    if items[node] >= 0:
      raise ValueError(
          f"prefix_trie: sequence {i} repeats sequence {items[node]}."
      )
    items[node] = i
  table = np.stack(children)
  inner = (table >= 0).any(axis=1)
  for node in np.flatnonzero(inner & (np.array(items) >= 0)):
    raise ValueError(
        f"prefix_trie: sequence {items[node]} is the beginning of another."
    )
  return Trie(jnp.asarray(table), jnp.asarray(items, jnp.int32))


def allowed(
    trie: Trie, nodes: Int[Array, "*batch"]
) -> Bool[Array, "*batch V"]:
  """Which tokens may follow; none after the end of a sequence or off it."""
  found = trie.children[jnp.maximum(nodes, 0)] >= 0
  return found & (nodes >= 0)[..., None]


def advance(
    trie: Trie, nodes: Int[Array, "*batch"], tokens: Int[Array, "*batch"]
) -> Int[Array, "*batch"]:
  """The node that a token leads to; -1 off the tree, for good."""
  checks.same_shape("advance", nodes=nodes, tokens=tokens)
  following = trie.children[jnp.maximum(nodes, 0), tokens]
  return jnp.where(nodes >= 0, following, -1)


def items_of(
    trie: Trie,
    tokens: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
) -> Int[Array, "*batch"]:
  """The item that a whole row spells, -1 if it spells none."""
  checks.same_shape("items_of", tokens=tokens, mask=mask)
  nodes = jnp.zeros(tokens.shape[:-1], trie.children.dtype)
  for t in range(tokens.shape[-1]):
    following = advance(trie, nodes, tokens[..., t])
    if mask is not None:
      following = jnp.where(mask[..., t], following, nodes)
    nodes = following
  return jnp.where(nodes >= 0, trie.item[jnp.maximum(nodes, 0)], -1)
