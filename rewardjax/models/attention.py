"""Softmax attention over flat tokens; a layout says who may read whom.

    Rows       every token reads its own row (packed rows: its own segment)
    Some       a few tokens of each row do
    Branches   prompts, and G continuations that share each of them
    Steps      the next tokens of G continuations, with a cache

A prompt is computed once for its G samples and its keys are never copied:
with P prompt tokens and T new ones a group costs P + G T tokens, not G (P + T).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from rewardjax.core import numerics


class KeyValue(NamedTuple):
  """Keys and values of one layer: K heads, G branches, S slots."""

  keys: Float[Array, "B K G S H"]
  values: Float[Array, "B K G S H"]


class Cache(NamedTuple):
  """What decoding remembers of B prompts and G branches of each.

  One array per layer, not one stacked array: a stack that passes through
  `scan` is copied whole at every token.
  """

  prompt: tuple[KeyValue, ...]  # of each layer, P slots, shared by branches
  stem: Bool[Array, "B P"]  # True on real tokens of the prompt
  branch: tuple[KeyValue, ...]  # of each layer, S slots
  mask: Bool[Array, "B G S"]  # True on written slots that hold a real token
  index: Int[Array, ""]  # slots written


class Rows(NamedTuple):
  """B rows of T tokens; each reads its own row.

  allowed: which tokens each of them may read, none of them after itself.
  """

  allowed: Bool[Array, "B T T"]

  def at(self, read: Int[Array, "B R"]) -> "Some":
    """For the queries of R positions of each row; all T have keys."""
    return Some(jnp.take_along_axis(self.allowed, read[..., None], axis=1))

  def attend(self, queries, keys, values, cache, index):
    """What `[B * T]` queries read, and the cache with the new keys."""
    rows = lambda x: _split(x, self.allowed.shape[0], 1, -1)
    own = KeyValue(rows(keys), rows(values))
    if cache is not None:
      own = cache = _write(cache, own, index)
    return _join(mix_causal(rows(queries), own, self.allowed[:, None])), cache


class Some(NamedTuple):
  """R tokens of each of B rows, in any order; they read their own row.

  allowed: which of its T tokens.
  """

  allowed: Bool[Array, "B R T"]

  def attend(self, queries, keys, values, cache, index):
    """What `[B * R]` queries read of `[B * T]` keys."""
    del index
    rows = lambda x: _split(x, self.allowed.shape[0], 1, -1)
    own = KeyValue(rows(keys), rows(values))
    return _join(mix(rows(queries), own, self.allowed[:, None])), cache


class Branches(NamedTuple):
  """B prompts of P tokens, and G branches of T tokens from each.

  The flat tokens are each prompt and then its branches, so that rows split
  over devices stay where they are. A prompt is read once for its G branches,
  which is what makes groups cheap.

  prompt: which slots of its prompt each prompt token may read.
  stem: the prompt tokens that are real.
  branch: which slots of its own branch each branch token may read.
  """

  prompt: Bool[Array, "B P P"]
  stem: Bool[Array, "B P"]
  branch: Bool[Array, "B G T T"]

  def attend(self, queries, keys, values, cache, index):
    """What `[B * (P + G * T)]` tokens read."""
    del index
    batch, width, _ = self.prompt.shape
    _, group, length, _ = self.branch.shape
    rows = lambda x: x.reshape(batch, -1, *x.shape[1:])
    stem = lambda x: _split(rows(x)[:, :width], batch, 1, width)
    tips = lambda x: _split(rows(x)[:, width:], batch, group, length)
    prompt = KeyValue(stem(keys), stem(values))
    first = mix_causal(stem(queries), prompt, self.prompt[:, None])
    own = KeyValue(tips(keys), tips(values))
    second = mix_causal(tips(queries), own, self.branch, prompt, self.stem)
    mixed = jnp.concatenate([rows(_join(x)) for x in (first, second)], axis=1)
    return mixed.reshape(-1, mixed.shape[-1]), cache


class Steps(NamedTuple):
  """G branches of each of B prompts, T more tokens each, with a cache.

  stem: the prompt tokens that are real.
  branch: which of S slots of its own branch each token may read.
  """

  stem: Bool[Array, "B P"]
  branch: Bool[Array, "B G T S"]

  def attend(self, queries, keys, values, cache, index):
    """What `[B * G * T]` tokens read, and the cache with their own keys."""
    batch, group, length, _ = self.branch.shape
    tips = lambda x: _split(x, batch, group, length)
    prompt, own = cache
    own = _write(own, KeyValue(tips(keys), tips(values)), index)
    mixed = mix(tips(queries), own, self.branch, prompt, self.stem)
    return _join(mixed), (prompt, own)


Layout = Rows | Some | Branches | Steps


def own(
    mask: Bool[Array, "*batch T"],
    segments: Int[Array, "*batch T"] | None = None,
    parents: Int[Array, "*batch T"] | None = None,
) -> tuple[Bool[Array, "*batch T T"], Int[Array, "*batch T"]]:
  """What each token of a row may read of it, and each token's position.

  Args:
    mask: True on real tokens.
    segments: tokens of other ones are not read; None: a row is one.
    parents: of a token: one more segment, before its own, that is read.
  """
  length = mask.shape[-1]
  causal = jnp.tril(jnp.ones((length, length), bool))
  allowed = jnp.broadcast_to(causal, (*mask.shape, length))
  allowed &= mask[..., None, :]
  if segments is not None:
    there = segments[..., None, :]
    related = segments[..., None] == there
    if parents is not None:
      related |= parents[..., None] == there
    allowed &= related
  # A token reads itself and all that stands before it.
  return allowed, jnp.sum(allowed, axis=-1) - 1


def starts(segments: Int[Array, "*batch T"]) -> Bool[Array, "*batch T"]:
  """True on the first token of each segment."""
  first = jnp.ones((*segments.shape[:-1], 1), bool)
  changes = segments[..., 1:] != segments[..., :-1]
  return jnp.concatenate([first, changes], axis=-1)


def take(
    x: Shaped[Array, " M *rest"], read: Int[Array, "B R"] | None
) -> Shaped[Array, " N *rest"]:
  """R tokens of each of B rows, flat again; None takes all."""
  if read is None:
    return x
  rows = x.reshape(read.shape[0], -1, *x.shape[1:])
  index = read.reshape(*read.shape, *[1] * (x.ndim - 1))
  taken = jnp.take_along_axis(rows, index, axis=1)
  return taken.reshape(-1, *x.shape[1:])


def _split(x, batch, group, length):
  """[B * G * T, N, H], or [B, G * T, N, H], to [B, N, G, T, H]."""
  x = x.reshape(batch, group, length, *x.shape[-2:])
  return x.transpose(0, 3, 1, 2, 4)


def _join(x):
  """[B, N, G, T, H] to [B * G * T, N * H]."""
  x = x.transpose(0, 2, 3, 1, 4)
  return x.reshape(-1, x.shape[-2] * x.shape[-1])


def _write(cache, new, index):
  write = jax.lax.dynamic_update_slice_in_dim
  return KeyValue(*(write(x, y, index, axis=3) for x, y in zip(cache, new)))


def mix(
    queries: Float[Array, "B N G T H"],
    own: KeyValue,
    allowed: Bool[Array, "B G T S"],
    prompt: KeyValue | None = None,
    stem: Bool[Array, "B P"] | None = None,
) -> Float[Array, "B N G T H"]:
  """Softmax attention; query head n reads key head n // (N / K).

  Scores and softmax are float32 or wider. A query that may read nothing
  gets a finite average of something.

  Args:
    queries: of G branches.
    own: keys and values of each branch, `[B, K, G, S, H]`.
    allowed: which of its S own slots a query may read.
    prompt: keys and values that all branches of a prompt share,
      `[B, K, 1, P, H]`; never copied for each of them.
    stem: which slots of the prompt are read.
  """
  batch, heads, group, length, head_dim = queries.shape
  num_kv = own.keys.shape[1]
  repeats = heads // num_kv
  scale = jnp.asarray(head_dim**-0.5, queries.dtype)
  # Query heads of one key head become rows of one matrix per branch.
  grouped = (queries * scale).reshape(
      batch, num_kv, repeats, group, length, head_dim
  )
  grouped = grouped.transpose(0, 1, 3, 2, 4, 5)
  grouped = grouped.reshape(batch, num_kv, group, repeats * length, head_dim)
  masks = [jnp.tile(allowed, (1, 1, repeats, 1))[:, None]]
  sources = [own]
  if prompt is not None:
    masks.append(stem[:, None, None, None])
    sources.append(prompt)
  scores = [
      jnp.where(mask, _dot(grouped, x.keys, 4), -1e30)  # -inf would give NaN
      for x, mask in zip(sources, masks)
  ]
  top = [jnp.max(x, axis=-1, keepdims=True) for x in scores]
  top = jax.lax.stop_gradient(functools.reduce(jnp.maximum, top))
  weights = [jnp.exp(x - top) for x in scores]
  total = sum(jnp.sum(x, axis=-1, keepdims=True) for x in weights)
  wide = [
      _dot(x.astype(own.values.dtype), source.values, 3)
      for x, source in zip(weights, sources)
  ]
  share = numerics.outer(1 / total, jnp.ones(head_dim, total.dtype))
  out = (sum(wide) * share).astype(own.values.dtype)
  out = out.reshape(batch, num_kv, group, repeats, length, head_dim)
  out = out.transpose(0, 1, 3, 2, 4, 5)
  return out.reshape(batch, heads, group, length, head_dim)


def mix_causal(
    queries: Float[Array, "B N G T H"],
    own: KeyValue,
    allowed: Bool[Array, "B G T T"],
    prompt: KeyValue | None = None,
    stem: Bool[Array, "B P"] | None = None,
) -> Float[Array, "B N G T H"]:
  """`mix` where no token is allowed to read what stands after it.

  Up to four pieces of a row, none shorter than 64, read no further than they
  end: 5/8 of the scores of a long row.
  """
  length = queries.shape[3]
  size = 64 * -(-length // (4 * 64))
  parts = []
  for start in range(0, length, size):
    end = min(start + size, length)
    before = KeyValue(*(x[..., :end, :] for x in own))
    piece = queries[..., start:end, :], before, allowed[..., start:end, :end]
    parts.append(mix(*piece, prompt, stem))
  return jnp.concatenate(parts, axis=3)


def _dot(x, y, axis):
  """x [B, K, G, R, C] times y [B, K, G or 1, ...] over C and y's `axis`."""
  batch, num_kv, group, rows, _ = x.shape
  shared = y.shape[2] != group
  if shared:
    x = x.reshape(batch, num_kv, 1, group * rows, x.shape[-1])
  wide = jnp.promote_types(x.dtype, jnp.float32)
  out = jax.lax.dot_general(
      x,
      y,
      (((4,), (axis,)), ((0, 1, 2), (0, 1, 2))),
      preferred_element_type=wide,
  )
  return out.reshape(batch, num_kv, group, rows, out.shape[-1])
