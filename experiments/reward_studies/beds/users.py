"""Users who agree on one thing and differ on another.

A user of kind k out of K values an item x at

    opposite (x_0 cos(a) + x_2 sin(a)) + shared x_1,    a = 2 pi k / K

so that two kinds have opposite tastes on x_0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rewardjax.core.random import split_named
from rewardjax.types import Scalar


class Survey(NamedTuple):
  """C pairs that each of U users compared, as they said it."""

  chosen: Float[Array, "U C D"]
  rejected: Float[Array, "U C D"]
  kinds: Int[Array, " U"]


def value(
    x: Float[Array, "*batch D"],
    kinds: Int[Array, "*#batch"],
    *,
    num_kinds: int = 2,
    opposite: Scalar = 1.0,
    shared: Scalar = 0.3,
) -> Float[Array, "*batch"]:
  """What the item is worth to a user of each kind."""
  angle = 2 * jnp.pi * kinds / num_kinds
  own = x[..., 0] * jnp.cos(angle) + x[..., 2] * jnp.sin(angle)
  return opposite * own + shared * x[..., 1]


def survey(
    key: Key[Array, ""],
    kinds: Int[Array, " U"],
    *,
    num_pairs: int,
    dim: int,
    flip_rate: Scalar = 0.0,
    **taste,
) -> Survey:
  """Every user compares pairs of their own, from N(0, I).

  Args:
    key: consumed.
    kinds: of the users.
    num_pairs: C (static).
    dim: D >= 3 (static).
    flip_rate: chance that a user says the opposite.
    **taste: see `value`.
  """
  keys = split_named(key, "items", "flips")
  shape = (kinds.shape[0], num_pairs)
  items = jax.random.normal(keys["items"], (2, *shape, dim))
  first, second = (value(x, kinds[:, None], **taste) for x in items)
  flipped = jax.random.bernoulli(keys["flips"], flip_rate, shape)
  won = ((first > second) != flipped)[..., None]
  return Survey(
      jnp.where(won, items[0], items[1]),
      jnp.where(won, items[1], items[0]),
      kinds,
  )


def mixed_kinds(num_users: int, *, num_kinds: int = 2) -> Int[Array, " U"]:
  """As many of each kind as there can be."""
  return jnp.arange(num_users, dtype=jnp.int32) % num_kinds
