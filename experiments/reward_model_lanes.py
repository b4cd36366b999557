"""Sequences of rows in lanes: where each stands, and what is read there.

What one row computes at once is a unit: a sequence, or several that share
their beginning. A unit stands in one lane, in one piece; a lane holds several
units, which do not see each other. All of it is NumPy.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np


class Encoded(NamedTuple):
  """One row: its sequences, (sequence, place) of each readout, its targets.

  All rows of some data have targets of the same names.

  prefix: tokens with which all sequences begin, and which are computed once;
    each goes on with its own, and readouts stand on those.
  """

  sequences: tuple[np.ndarray, ...]
  readouts: tuple[tuple[int, int], ...]
  targets: dict[str, Any]
  prefix: int = 0


def share(row: Encoded) -> Encoded:
  """Computes the common beginning of a row's sequences once, if it is long.

  It must save an eighth of the tokens: longer units make attention dearer.
  """
  if len(row.sequences) < 2:
    return row
  ends = [len(x) - 1 for x in row.sequences]
  most = min(ends + [place for _, place in row.readouts])
  first = np.stack([x[:most] for x in row.sequences])
  differs = (first != first[:1]).any(axis=0)
  shared = row._replace(prefix=int(np.argmax([*differs, True])))
  before, after = (sum(lengths_of([x])) for x in (row, shared))
  return shared if 8 * after <= 7 * before else row


def units(row: Encoded) -> list[list[int]]:
  """Numbers of the sequences that are computed together.

  Those of a unit share the prefix. It is at most twice as long as a sequence,
  however many there are, so that attention does not outgrow what is saved.
  """
  lengths = [len(x) for x in row.sequences]
  found: list[list[int]] = []
  size = 0
  for i, length in enumerate(lengths):
    size += length - row.prefix
    if found and row.prefix and size <= 2 * max(lengths):
      found[-1].append(i)
    else:
      found.append([i])
      size = length
  return found


def lengths_of(rows: Sequence[Encoded | None]) -> list[int]:
  """Tokens of every unit of some rows."""
  return [
      sum(len(row.sequences[i]) for i in unit) - (len(unit) - 1) * row.prefix
      for row in rows
      if row
      for unit in units(row)
  ]


class Shape(NamedTuple):
  """Of a batch; static, so that one program serves all batches."""

  blocks: int
  lanes: int
  room: int
  rows: int  # of a block
  readouts: int  # of a row
  reads: int  # of a lane
  targets: tuple[str, ...]
  width: int = 0  # of vectors; 0: tokens


def first_fit(lengths: Sequence[int], room: int):
  """(lane, offset) of each sequence, the longest first, and the lanes used."""
  if not lengths or 2 * min(lengths) > room:  # no two in one lane
    return [(i, 0) for i in range(len(lengths))], len(lengths)
  used: list[int] = []
  found = [(0, 0)] * len(lengths)
  for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
    lane = next(
        (j for j, n in enumerate(used) if n + lengths[i] <= room), len(used)
    )
    if lane == len(used):
      used.append(0)
    found[i] = (lane, used[lane])
    used[lane] += lengths[i]
  return found, len(used)


def needed(block: Sequence[Encoded | None], room: int) -> tuple[int, int]:
  """Lanes that a block fills, and the readouts of the lane with the most."""
  placed, lanes = first_fit(lengths_of(block), room)
  counts = [0] * max(lanes, 1)
  found = iter(placed)
  for row in filter(None, block):
    for unit, (lane, _) in zip(units(row), found):
      counts[lane] += sum(i in unit for i, _ in row.readouts)
  return lanes, max(counts)


def blocks_of(rows: Sequence[Any], num_blocks: int) -> list[list[Any]]:
  """Rows in so many parts of consecutive ones."""
  size = len(rows) // num_blocks
  return [list(rows[i * size : (i + 1) * size]) for i in range(num_blocks)]


def pack(rows: Sequence[Encoded | None], shape: Shape, packs: bool = True):
  """A batch of arrays; None is a row that counts nothing.

  Returns:
    tokens [N, L, R] or vectors [N, L, R, D], segments [N, L, R] (0 where
    nothing stands), parents [N, L, R] (the segment of the prefix, 0 where
    there is none), places [N, L, Q] (that are read, of each lane), ends
    [N, B, K] (which of the L * Q places of a block), mask [N, B, K], weight
    [N, B] and the targets of the rows.
  """
  blocks = [
      _pack_block(block, shape, packs)
      for block in blocks_of(rows, shape.blocks)
  ]
  return {name: np.stack([x[name] for x in blocks]) for name in blocks[0]}


def _pack_block(rows, shape: Shape, packs: bool):
  size = (shape.lanes, shape.room)
  tokens = np.zeros(size, np.int32)
  if shape.width:
    tokens = np.zeros((*size, shape.width), np.float32)
  segments, parents = (np.zeros(size, np.int32) for _ in range(2))
  places = np.zeros((shape.lanes, shape.reads), np.int32)
  ends = np.zeros((shape.rows, shape.readouts), np.int32)
  mask = np.zeros((shape.rows, shape.readouts), bool)
  slots = iter(first_fit(lengths_of(rows), shape.room if packs else 0)[0])
  numbers, used = itertools.count(1), [0] * shape.lanes

  def put(lane, start, x, segment, parent):
    here = lane, slice(start, start + len(x))
    tokens[here], segments[here], parents[here] = x, segment, parent

  for b, row in enumerate(rows):
    if row is None:
      continue
    where = {}
    for unit, (lane, start) in zip(units(row), slots):
      starts = _write(row, unit, start, partial(put, lane), numbers)
      where |= {i: (lane, x) for i, x in zip(unit, starts)}
    for k, (i, place) in enumerate(row.readouts):
      lane, start = where[i]
      places[lane, used[lane]] = start + place
      ends[b, k] = lane * shape.reads + used[lane]
      mask[b, k] = True
      used[lane] += 1
  arrays = dict(tokens=tokens, segments=segments, parents=parents)
  arrays |= dict(places=places, ends=ends, mask=mask)
  return arrays | _targets(rows, shape)


def _write(row: Encoded, unit, start: int, put, numbers) -> list[int]:
  """Writes the prefix, then what is each sequence's own.

  Returns:
    Where each sequence would start, so that what is its own is in its place.
  """
  prefix = row.prefix if len(unit) > 1 else 0
  stem = next(numbers) if prefix else 0
  put(start, row.sequences[unit[0]][:prefix], stem, 0)
  starts = []
  for i in unit:
    starts.append(start)
    put(start + prefix, row.sequences[i][prefix:], next(numbers), stem)
    start += len(row.sequences[i]) - prefix
  return starts


_TARGETS = {
    "weight": (np.float32, 0.0),
    "outcome": (np.int32, 1),
    "strength": (np.float32, 0.0),
    "rating": (np.float32, 0.0),
    "correct": (np.bool_, False),
    "user": (np.int32, 0),
    "false_positive": (np.float32, 0.0),
    "false_negative": (np.float32, 0.0),
    "target": (np.float32, 1.0),
    "margin": (np.float32, 0.0),
    "high_level": (np.int32, -1),
    "low_level": (np.int32, -1),
}
_PER_READOUT = {"ranks": (np.int32, 0), "labels": (np.float32, 0.0)}


def _targets(rows, shape: Shape):
  found = {}
  for name in shape.targets:
    if name in _TARGETS:
      dtype, missing = _TARGETS[name]
      values = [row.targets[name] if row else missing for row in rows]
      found[name] = np.asarray(values, dtype)
    else:
      dtype, missing = _PER_READOUT[name]
      found[name] = np.full((shape.rows, shape.readouts), missing, dtype)
      for b, row in enumerate(rows):
        values = row.targets[name] if row else ()
        found[name][b, : len(values)] = values
  return found


def stream(
    rows: Iterable[Any], shape: Shape, packs: bool = True
) -> Iterator[list[Any]]:
  """Rows in their order, as many at a time as one block holds."""
  waiting, lengths = [], []
  for row in rows:
    new = lengths + lengths_of([row])
    fits = len(new) <= shape.lanes  # a lane each
    if not fits and packs and len(waiting) < shape.rows:
      fits = first_fit(new, shape.room)[1] <= shape.lanes
    if waiting and (len(waiting) == shape.rows or not fits):
      yield waiting
      waiting, new = [], lengths_of([row])
    waiting, lengths = [*waiting, row], new
  if waiting:
    yield waiting
