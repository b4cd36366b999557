"""Several short sequences in one long row, so that padding costs nothing.

    plan = first_fit(lengths, lanes=4, room=64, width=32)
    tokens = pack(plan, tokens)  # [*batch, N, 32] to [*batch, 4, 64]
    features = ...                # attend within plan.segments
    log_probs = unpack(plan, log_probs, 32)  # and back

Everything is pure with static shapes: whether the sequences fit is a result,
and what did not fit is left out, never cut.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Shaped

from rewardjax.core import checks


class Packing(NamedTuple):
  """Where each of N sequences of at most T tokens stands: L lanes of R.

  slot: lane * R + offset of each sequence's first token.
  placed: False for a sequence that found no room.
  source: of each place, the index n * T + t of what stands there.
  segments: of each place, the sequence that stands there, N on padding.
  lengths: of each sequence.
  """

  slot: Int[Array, "*batch N"]
  placed: Bool[Array, "*batch N"]
  source: Int[Array, "*batch L R"]
  segments: Int[Array, "*batch L R"]
  lengths: Int[Array, "*batch N"]

  @property
  def mask(self) -> Bool[Array, "*batch L R"]:
    """True where a token stands."""
    return self.segments < self.slot.shape[-1]

  @property
  def fits(self) -> Bool[Array, "*batch"]:
    """Whether every sequence of a row has found room."""
    return jnp.all(self.placed, axis=-1)


def first_fit(
    lengths: Int[Array, "*batch N"], *, lanes: int, room: int, width: int
) -> Packing:
  """Puts each sequence, the longest first, into the first lane with room.

  Args:
    lengths: tokens of each sequence, at most `width`; 0 takes no room.
    lanes: L, rows to fill (static).
    room: R, tokens of a row (static).
    width: T, the axis that sequences are padded to (static).

  Returns:
    `Packing`; `fits` says whether everything found room.

  Raises:
    ValueError: if `lanes`, `room` or `width` is less than 1.
  """
  checks.at_least("first_fit", 1, lanes=lanes, room=room, width=width)
  one = functools.partial(_first_fit, lanes=lanes, room=room, width=width)
  for _ in range(lengths.ndim - 1):
    one = jax.vmap(one)
  return one(lengths)


def _first_fit(lengths, *, lanes, room, width):
  count = lengths.shape[0]

  def place(used, n):
    length = lengths[n]
    has_room = used + length <= room
    lane = jnp.argmax(has_room)
    placed = has_room[lane]
    slot = lane * room + used[lane]
    return used.at[lane].add(jnp.where(placed, length, 0)), (slot, placed)

  order = jnp.argsort(-lengths, stable=True)
  _, found = jax.lax.scan(place, jnp.zeros(lanes, lengths.dtype), order)
  slot, placed = (x[jnp.argsort(order)] for x in found)
  offsets = jnp.arange(width)
  here = (offsets[None] < lengths[:, None]) & placed[:, None]
  # What does not stand anywhere is dropped.
  target = jnp.where(here, slot[:, None] + offsets[None], lanes * room)
  index = jnp.arange(count * width).reshape(count, width)
  put = lambda empty, x: (
      jnp.full(lanes * room, empty)
      .at[target]
      .set(x, mode="drop")
      .reshape(lanes, room)
  )
  segments = jnp.broadcast_to(jnp.arange(count)[:, None], index.shape)
  return Packing(slot, placed, put(0, index), put(count, segments), lengths)


def pack(
    plan: Packing, x: Shaped[Array, "*batch N T"]
) -> Shaped[Array, "*batch L R"]:
  """From `[*batch, N, T]` to `[*batch, L, R]`; padding holds anything."""
  flat = x.reshape(*x.shape[:-2], -1)
  source = plan.source.reshape(*plan.source.shape[:-2], -1)
  taken = jnp.take_along_axis(flat, source, axis=-1)
  return taken.reshape(plan.source.shape)


def unpack(
    plan: Packing, x: Shaped[Array, "*batch L R"], width: int
) -> Shaped[Array, "*batch N T"]:
  """From `[*batch, L, R]` back to `[*batch, N, T]`; T = `width` (static).

  What was not placed, and what lies past a sequence's end, is 0.
  """
  flat = x.reshape(*x.shape[:-2], -1)
  offsets = jnp.arange(width).reshape((1,) * plan.slot.ndim + (width,))
  here = (offsets < plan.lengths[..., None]) & plan.placed[..., None]
  index = jnp.where(here, plan.slot[..., None] + offsets, 0)
  shape = index.shape
  index = index.reshape(*shape[:-2], -1)
  taken = jnp.take_along_axis(flat, index, axis=-1).reshape(shape)
  return jnp.where(here, taken, jnp.zeros_like(taken))
