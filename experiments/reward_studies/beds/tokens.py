"""Texts of eight tokens: good ones, bad ones, and two of mere style."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from rewardjax.core import masking
from rewardjax.core.random import split_named
from rewardjax.models import pooling

GOOD = (0, 1, 2)
BAD = (3, 4, 5)
STYLE = (6, 7)
VOCAB_SIZE = 8


class Texts(NamedTuple):
  """Texts of at most T tokens; True in `mask` for real ones, which are first.
  """

  tokens: Int[Array, "*batch T"]
  mask: Bool[Array, "*batch T"]


class Pairs(NamedTuple):
  """Of two texts the one with more gold is the chosen one."""

  chosen: Texts
  rejected: Texts


def gold(texts: Texts) -> Float[Array, "*batch"]:
  """Good tokens less bad ones; style counts nothing."""
  worth = np.zeros(VOCAB_SIZE, np.float32)
  worth[list(GOOD)], worth[list(BAD)] = 1, -1
  values = jnp.asarray(worth)[texts.tokens]
  return jnp.sum(jnp.where(texts.mask, values, 0.0), axis=-1)


def token_law(
    quality: Float[Array, "*batch"],
    style: Float[Array, "*batch"],
    style_share: float,
) -> Float[Array, "*batch V"]:
  """The chance of each token.

  Args:
    quality: chance that a token with a meaning is a good one.
    style: chance that a token of style is the first of the two.
    style_share: chance that a token is one of style.
  """
  content, dress = 1 - style_share, style_share
  parts = [content * quality / 3] * 3 + [content * (1 - quality) / 3] * 3
  return jnp.stack([*parts, dress * style, dress * (1 - style)], axis=-1)


def draw_texts(
    key: Key[Array, ""],
    law: Float[Array, "*batch V"],
    *,
    length: int,
    lengths: Int[Array, "*batch"] | None = None,
) -> Texts:
  """Texts of independent tokens.

  Args:
    key: consumed.
    law: of `token_law`.
    length: T.
    lengths: of each text, at most T; None means T.
  """
  tokens = jax.random.categorical(
      key, jnp.log(law)[..., None, :], shape=(*law.shape[:-1], length)
  )
  places = jax.lax.broadcasted_iota(jnp.int32, tokens.shape, tokens.ndim - 1)
  end = length if lengths is None else lengths[..., None]
  return Texts(tokens, places < end)


def draw_pairs(
    key: Key[Array, ""],
    num_pairs: int,
    *,
    length: int,
    quality: float,
    style: float,
    style_share: float,
) -> Pairs:
  """Pairs whose style goes with the label, by chance `style`.

  Args:
    key: consumed.
    num_pairs: N.
    length: T.
    quality: of `token_law`, for the chosen texts; 1 - quality for the others.
    style: as `quality`. With 0.5 style says nothing, with its own 1 - style
      the pairs are those with swapped style.
    style_share: of `token_law`.
  """
  keys = split_named(key, "first", "second")
  law = lambda q, s: jnp.broadcast_to(
      token_law(jnp.asarray(q), jnp.asarray(s), style_share),
      (num_pairs, VOCAB_SIZE),
  )
  return by_gold(
      draw_texts(keys["first"], law(quality, style), length=length),
      draw_texts(keys["second"], law(1 - quality, 1 - style), length=length),
  )


def by_gold(first: Texts, second: Texts) -> Pairs:
  """The better text chosen; of equal ones the first."""
  swap = (gold(second) > gold(first))[..., None]
  pick = lambda a, b: jnp.where(swap, b, a)
  chosen = Texts(*map(pick, first, second))
  return Pairs(chosen, Texts(*map(pick, second, first)))


class Scorer(NamedTuple):
  """A mean over embedded tokens, one hidden layer, one reward."""

  embedding: Float[Array, "V H"]
  hidden: Float[Array, "H H"]
  out: Float[Array, " H"]

  def __call__(self, texts: Texts) -> Float[Array, "*batch"]:
    """The reward of each text."""
    pooled = pooling.mean(self.embedding[texts.tokens], texts.mask)
    return jnp.tanh(pooled @ self.hidden) @ self.out


def init_scorer(key: Key[Array, ""], *, width: int) -> Scorer:
  """A fresh scorer, all rewards 0; `key` is consumed."""
  keys = split_named(key, "embedding", "hidden")
  return Scorer(
      jax.random.normal(keys["embedding"], (VOCAB_SIZE, width)),
      jax.random.normal(keys["hidden"], (width, width)) / jnp.sqrt(width),
      jnp.zeros(width),
  )


def counts(texts: Texts) -> Float[Array, "*batch V"]:
  """How often a text holds each token."""
  seen = jax.nn.one_hot(texts.tokens, VOCAB_SIZE)
  mask = jnp.broadcast_to(texts.mask[..., None], seen.shape)
  return masking.masked_sum(seen, mask, -2)
