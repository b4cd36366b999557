"""Answers that share beginnings, and which of them to compare."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from rewardjax.core import checks

# From a key and a prefix [depth], of which `length` tokens are written, to
# the next one.
NextToken = Callable[[Array, Array, Array], Array]


def prefix_tree(
    key: Key[Array, ""], next_token: NextToken, *, depth: int, branch: int
) -> Int[Array, "L D"]:
  """Every prefix continued in `branch` ways, down to full answers.

  Args:
    key: consumed.
    next_token: `(key, prefix, length) -> token`; what lies past `length` in
      the prefix is 0.
    depth: D tokens of an answer (static).
    branch: continuations of each prefix (static).

  Returns:
    L = branch ** depth leaves, those of one subtree next to each other: two
    leaves share at least the prefixes their indices share in base `branch`.

  Raises:
    ValueError: if a number is below 1.
  """
  checks.at_least("prefix_tree", 1, depth=depth, branch=branch)
  rows = jnp.zeros((1, depth), jnp.int32)
  for length in range(depth):
    rows = jnp.repeat(rows, branch, axis=0)
    keys = jax.random.split(jax.random.fold_in(key, length), rows.shape[0])
    step = lambda k, row, n=length: next_token(k, row, jnp.asarray(n))
    rows = rows.at[:, length].set(jax.vmap(step)(keys, rows))
  return rows


def tree_pairs(
    key: Key[Array, ""], num_leaves: int, *, num_pairs: int
) -> Int[Array, "P 2"]:
  """Two different leaves each, all pairs of leaves equally likely.

  Args:
    key: consumed.
    num_leaves: at least 2 (static).
    num_pairs: P (static).

  Raises:
    ValueError: if a number is too small.
  """
  checks.at_least("tree_pairs", 2, num_leaves=num_leaves)
  checks.at_least("tree_pairs", 1, num_pairs=num_pairs)
  first_key, second_key = jax.random.split(key)
  first = jax.random.randint(first_key, (num_pairs,), 0, num_leaves)
  other = jax.random.randint(second_key, (num_pairs,), 0, num_leaves - 1)
  # A leaf is never compared with itself.
  return jnp.stack([first, other + (other >= first)], axis=-1)


def shared_length(
    first: Int[Array, "*#batch D"], second: Int[Array, "*#batch D"]
) -> Int[Array, "*batch"]:
  """Tokens before the first at which two answers part; D if they are equal."""
  same = (first == second).astype(jnp.int32)
  return jnp.sum(jnp.cumprod(same, axis=-1), axis=-1)
