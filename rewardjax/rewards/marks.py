"""Completions made of working, a mark and an answer, on token ids.

    3142:  2;3;3;=3        the mark is "=", the answer what follows it

The last mark counts: whoever corrects an answer means the last one. Without a
mark (an empty tuple) all of a completion is its answer. Everything is pure
and jittable; marks and stop tokens are static.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from rewardjax.core import checks
from rewardjax.rewards.verifiers import tokens as verifiers


class Parts(NamedTuple):
  """What belongs to what in a completion; the stop token to neither.

  working: True up to the last mark, the mark included; everywhere where there
    is no mark in the completion.
  answer: True after the last mark; nowhere where there is none.
  """

  working: Bool[Array, "*batch T"]
  answer: Bool[Array, "*batch T"]


class Completed(NamedTuple):
  """Working with another answer behind it, W tokens, padded right.

  start: where the answer begins.
  """

  tokens: Int[Array, "*batch W"]
  mask: Bool[Array, "*batch W"]
  start: Int[Array, "*batch"]


def _mark_ends(tokens, content, mark):
  """True on the last token of every mark."""
  length = tokens.shape[-1]
  found = jnp.ones(tokens.shape, bool)
  for back, token in enumerate(reversed(mark)):
    here = content & (tokens == token)
    pad = [(0, 0)] * (tokens.ndim - 1) + [(back, 0)]
    found &= jnp.pad(here, pad)[..., :length]
  return found


def split(
    tokens: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    *,
    mark: tuple[int, ...],
    stop_tokens: tuple[int, ...],
) -> Parts:
  """Parts of completions: what stands before and after the last mark.

  Args:
    tokens: sampled tokens, padded right.
    mask: True on every sampled token.
    mark: ids that stand between working and answer (static); empty: all is
      working and all is answer.
    stop_tokens: ids that end a completion (static).

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("split", tokens=tokens, mask=mask)
  content = verifiers.content_mask(tokens, mask, stop_tokens)
  if not mark:
    return Parts(content, content)
  ends = _mark_ends(tokens, content, mark)
  # Marks at or after each place: the answer has none.
  later = jnp.cumsum(ends[..., ::-1], axis=-1)[..., ::-1]
  marked = jnp.any(ends, axis=-1, keepdims=True)
  after = content & (later == 0) & marked
  return Parts(content & ~after, after)


def align(
    tokens: Int[Array, "*batch T"], mask: Bool[Array, "*batch T"]
) -> tuple[Int[Array, "*batch T"], Bool[Array, "*batch T"]]:
  """Real tokens moved to the left in their order; ids are 0 where masked."""
  order = jnp.argsort(~mask, axis=-1, stable=True)
  mask = jnp.take_along_axis(mask, order, axis=-1)
  moved = jnp.take_along_axis(tokens, order, axis=-1)
  return jnp.where(mask, moved, 0), mask


def step_ids(
    tokens: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"],
    *,
    separator: tuple[int, ...],
    every: int,
    num_steps: int,
    stop_tokens: tuple[int, ...] = (),
) -> Int[Array, "*batch T"]:
  """The step of each token: a new one after a separator, or so many tokens.

  A separator ends the step that it stands in. One with nothing behind it but
  a stop token begins no step: the last step is never empty.

  Args:
    tokens: sampled tokens, padded right.
    mask: True on every sampled token.
    separator: ids that end a step (static); empty: steps are `every` tokens.
    every: tokens of a step; not read where there is a separator (static).
    num_steps: K; the last step takes all that follows (static).
    stop_tokens: ids that end a completion (static).

  Returns:
    0 .. K-1, as `advantages.placement` reads them; -1 where masked.

  Raises:
    ValueError: if shapes differ, or a size is not positive.
  """
  checks.same_shape("step_ids", tokens=tokens, mask=mask)
  checks.at_least("step_ids", 1, every=every, num_steps=num_steps)
  if separator:
    content = verifiers.content_mask(tokens, mask, stop_tokens)
    ends = _mark_ends(tokens, content, separator)
    left = jnp.cumsum(content[..., ::-1], axis=-1)[..., ::-1]
    ends = (ends & (left > 1)).astype(jnp.int32)
    ids = jnp.cumsum(ends, axis=-1) - ends
  else:
    ids = (jnp.cumsum(mask, axis=-1) - 1) // every
  return jnp.where(mask, jnp.minimum(ids, num_steps - 1), -1)


def append_answers(
    tokens: Int[Array, "*batch T"],
    working: Bool[Array, "*batch T"],
    answers: Int[Array, "*#batch L"],
    answer_mask: Bool[Array, "*#batch L"],
    *,
    mark: tuple[int, ...],
) -> Completed:
  """The reference answer behind the working that was sampled.

  Args:
    tokens: sampled tokens.
    working: from `split`; where it ends in no mark, the mark is appended.
    answers: padded right, perhaps with a stop token; leading axes broadcast.
    answer_mask: True on real tokens of the answers.
    mark: as in `split` (static).

  Returns:
    T + len(mark) + L tokens.

  Raises:
    ValueError: if shapes do not fit.
  """
  where = "append_answers"
  checks.same_shape(where, tokens=tokens, working=working)
  checks.same_shape(where, answers=answers, answer_mask=answer_mask)
  leading = tokens.shape[:-1]
  spread = lambda x: jnp.broadcast_to(x, leading + x.shape[-1:])
  has_mark = jnp.any(_mark_ends(tokens, working, mark), -1, keepdims=True)
  needs_mark = jnp.broadcast_to(~has_mark, (*leading, len(mark)))
  inserted = spread(jnp.array(mark, tokens.dtype))
  rows = [tokens, inserted, spread(answers).astype(tokens.dtype)]
  masks = [working, needs_mark, spread(answer_mask)]
  start = jnp.sum(working, -1) + jnp.sum(needs_mark, -1)
  joined = (jnp.concatenate(x, axis=-1) for x in (rows, masks))
  return Completed(*align(*joined), start)


def answer_ids(
    tokens: Int[Array, "*batch G T"], mask: Bool[Array, "*batch G T"]
) -> Int[Array, "*batch G"]:
  """Equal numbers for equal answers of a group: its first sample's index.

  Args:
    tokens: of the completions.
    mask: True on the tokens of the answers; they may stand anywhere.

  Returns:
    Ids for `search.voting`; -1 for an empty answer.
  """
  moved, real = align(tokens, mask)
  # One sample after the other: all pairs at once take G times the memory.
  at = lambda x, i: jax.lax.dynamic_index_in_dim(x, i, axis=-2)
  equals = lambda i: jnp.all(
      (moved == at(moved, i)) & (real == at(real, i)), axis=-1
  )
  equal = jax.lax.map(equals, jnp.arange(tokens.shape[-2]))
  first = jnp.argmax(equal, axis=0).astype(jnp.int32)
  return jnp.where(jnp.any(mask, axis=-1), first, -1)
