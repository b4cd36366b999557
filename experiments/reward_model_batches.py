"""Rows of judgements as arrays: texts packed into lanes, and what they say.

A batch is N blocks, each with its own rows; whatever splits a batch, devices
or microbatches, takes whole blocks. Axes: N blocks, L lanes, R places of a
lane, B rows of a block, K readouts of a row. All of it is NumPy and a
function of the seed, so that a run that was killed goes on with the batches
it would have had.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.reward_model_data import Data, Row
from rewardjax.data.tokenizers import Tokenizer


class Coder(NamedTuple):
  """How a prompt and a completion become one sequence of tokens.

  tokenizer: None where items are vectors.
  chat: the prompt is asked by the model's own template.
  max_length: tokens of a sequence; 0 has no limit.
  too_long: "cut" takes tokens from the front of the prompt, "error" does not.
  """

  tokenizer: Tokenizer | None
  separator: str = "\n"
  chat: bool = False
  max_length: int = 0
  too_long: str = "error"

  def prompt(self, text: str) -> list[int]:
    """Tokens that stand before a completion."""
    t = self.tokenizer
    if self.chat:
      asked = t.chat([dict(role="user", content=text)])
      return t.encode(asked, special=True)
    start = [] if t.bos is None else [t.bos]
    return start + t.encode(text + self.separator)

  def sequence(self, place: str, prompt: list[int], parts: Sequence[Any]):
    """Tokens of the prompt, the parts and the end; where each part ends.

    A single part is read at the end of the text, which it shares with no
    other; of several (steps), each at its own last token.

    Raises:
      ValueError: naming the place, if it is too long, or a part has no token.
    """
    if self.tokenizer is None:
      return np.stack(parts), (0,)
    pieces = [self.tokenizer.encode(part) for part in parts]
    if not all(pieces):
      raise ValueError(f"{place}: a part of the completion has no token.")
    behind = sum(map(len, pieces)) + 1
    length = len(prompt) + behind
    if self.max_length and length > self.max_length:
      if self.too_long != "cut" or behind > self.max_length:
        way = "or set too_long='cut' to shorten the prompt"
        if self.too_long == "cut":
          way = f"since the completion alone has {behind}"
        raise ValueError(
            f"{place}: prompt and completion have {length} tokens, max_length "
            f"is {self.max_length}; raise it, {way}."
        )
      prompt = prompt[length - self.max_length :]
    ends = np.cumsum([len(prompt), *map(len, pieces)])[1:] - 1
    tokens = [*prompt, *sum(pieces, []), self.tokenizer.eos]
    ends = (len(tokens) - 1,) if len(parts) == 1 else tuple(map(int, ends))
    return np.asarray(tokens, np.int32), ends


class Encoded(NamedTuple):
  """One row: its sequences, (sequence, place) of each readout, its targets.

  All rows of some data have targets of the same names.
  """

  sequences: tuple[np.ndarray, ...]
  readouts: tuple[tuple[int, int], ...]
  targets: dict[str, Any]


def encode(coder: Coder, kind: str, row: Row, targets) -> Encoded:
  """The steps of a chain are one sequence; other items have one each."""
  prompt = [] if coder.tokenizer is None else coder.prompt(row.prompt)
  if kind == "steps":
    groups = [row.items]
  else:
    groups = [(item,) for item in row.items]
  found = [coder.sequence(row.place, prompt, parts) for parts in groups]
  readouts = tuple(
      (i, end) for i, (_, ends) in enumerate(found) for end in ends
  )
  sequences = tuple(tokens for tokens, _ in found)
  return Encoded(sequences, readouts, targets)


class Shape(NamedTuple):
  """Of a batch; static, so that one program serves all batches."""

  blocks: int
  lanes: int
  room: int
  rows: int  # of a block
  readouts: int  # of a row
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


def lengths_of(rows: Sequence[Encoded | None]) -> list[int]:
  """Tokens of every sequence of some rows."""
  return [len(s) for row in rows if row for s in row.sequences]


def blocks_of(rows: Sequence[Any], num_blocks: int) -> list[list[Any]]:
  """Rows in so many parts of consecutive ones."""
  size = len(rows) // num_blocks
  return [list(rows[i * size : (i + 1) * size]) for i in range(num_blocks)]


def pack(rows: Sequence[Encoded | None], shape: Shape, packs: bool = True):
  """A batch of arrays; None is a row that counts nothing.

  Returns:
    tokens [N, L, R] or vectors [N, L, R, D], segments [N, L, R] (0 where
    nothing stands), ends [N, B, K] (places in the lanes of a block, in a
    row), mask [N, B, K], weight [N, B] and the targets of the rows.
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
  segments = np.zeros(size, np.int32)
  lengths = lengths_of(rows)
  placed, _ = first_fit(lengths, shape.room if packs else 0)
  ends = np.zeros((shape.rows, shape.readouts), np.int32)
  mask = np.zeros((shape.rows, shape.readouts), bool)
  number = 0
  for b, row in enumerate(rows):
    if row is None:
      continue
    slots = placed[number : number + len(row.sequences)]
    for i, (x, (lane, start)) in enumerate(zip(row.sequences, slots)):
      tokens[lane, start : start + len(x)] = x
      segments[lane, start : start + len(x)] = number + i + 1
    for k, (i, place) in enumerate(row.readouts):
      ends[b, k] = slots[i][0] * shape.room + slots[i][1] + place
      mask[b, k] = True
    number += len(row.sequences)
  arrays = dict(tokens=tokens, segments=segments, ends=ends, mask=mask)
  return arrays | _targets(rows, shape)


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


def order(seed: int, member: int, epoch: int, num_rows: int) -> np.ndarray:
  """The rows of one epoch as a member of an ensemble sees them."""
  return np.random.default_rng((seed, member, epoch)).permutation(num_rows)


class Batches:
  """Endless batches [M, N, ...], every member's in an order of its own.

  No row comes twice within an epoch; what does not fill a batch at its end
  is left out. `get_state` and `set_state` are those of `training.loop`.
  """

  def __init__(
      self,
      rows: Sequence[Encoded],
      *,
      batch_size: int,
      num_blocks: int,
      num_steps: int,
      seed: int,
      members: Sequence[int] = (0,),
      packs: bool = True,
  ):
    """Counts the lanes that the fullest of all blocks will need.

    Raises:
      ValueError: if the rows do not fill a batch, or a batch its blocks.
    """
    if not 1 <= batch_size <= len(rows):
      raise ValueError(
          f"config.batch_size must be in [1, {len(rows)}], the rows to train "
          f"on, got {batch_size}."
      )
    if batch_size % num_blocks:
      raise ValueError(
          f"config.batch_size must be a multiple of num_microbatches times "
          f"the devices that split it, {num_blocks}, got {batch_size}."
      )
    self._rows, self._batch_size, self._step = rows, batch_size, 0
    self._seed, self._members, self._packs = seed, tuple(members), packs
    self._orders: dict[tuple[int, int], np.ndarray] = {}
    plans = (
        [rows[i] for i in self._indices(member, step)]
        for member in self._members
        for step in range(num_steps)
    )
    self.shape = make_shape(plans, rows, batch_size, num_blocks, packs)

  def _indices(self, member: int, step: int) -> np.ndarray:
    size = self._batch_size
    epoch, place = divmod(step, len(self._rows) // size)
    if (member, epoch) not in self._orders:
      kept = {k: x for k, x in self._orders.items() if k[0] != member}
      now = order(self._seed, member, epoch, len(self._rows))
      self._orders = kept | {(member, epoch): now}
    return self._orders[member, epoch][place * size : (place + 1) * size]

  def __iter__(self):
    return self

  def __next__(self) -> dict[str, np.ndarray]:
    packed = [
        pack(
            [self._rows[i] for i in self._indices(member, self._step)],
            self.shape,
            self._packs,
        )
        for member in self._members
    ]
    self._step += 1
    return {name: np.stack([x[name] for x in packed]) for name in packed[0]}

  def get_state(self) -> dict[str, int]:
    """Where the data stand; small, for a checkpoint."""
    return {"step": self._step, "rows": len(self._rows), "seed": self._seed}

  def set_state(self, state: dict[str, int]) -> None:
    """Goes on after the batch at which `state` was taken.

    Raises:
      ValueError: naming what differs, if it belongs to other data.
    """
    for name, mine in (("rows", len(self._rows)), ("seed", self._seed)):
      if state[name] != mine:
        raise ValueError(
            f"Batches: the checkpoint's {name} is {state[name]}, ours {mine}: "
            "other batches would follow."
        )
    self._step = int(state["step"])


def make_shape(plans, rows, batch_size, num_blocks, packs: bool) -> Shape:
  """The smallest shape that holds every batch of `plans`.

  A lane is as long as the longest sequence, in whole eights.
  """
  longest = max(lengths_of(rows))
  vectors = rows[0].sequences[0].ndim > 1
  room = longest if vectors else -(-longest // 8) * 8
  lanes = 1
  for plan in plans:
    for block in blocks_of(plan, num_blocks):
      lengths = lengths_of(block)
      needed = first_fit(lengths, room)[1] if packs else len(lengths)
      lanes = max(lanes, needed)
  width = rows[0].sequences[0].shape[1] if vectors else 0
  readouts = max(len(row.readouts) for row in rows)
  size = batch_size // num_blocks
  targets = tuple(rows[0].targets)
  return Shape(num_blocks, lanes, room, size, readouts, targets, width)


def cover(
    rows: Sequence[Encoded],
    *,
    batch_size: int,
    num_blocks: int = 1,
    packs: bool = True,
) -> dict[str, np.ndarray]:
  """All rows once, as batches of one shape [C, N, ...]; the last is filled
  with rows that count nothing."""
  batch_size = min(batch_size, len(rows))
  batch_size = -(-batch_size // num_blocks) * num_blocks
  filled = [*rows, *[None] * (-len(rows) % batch_size)]
  plans = [
      filled[i : i + batch_size] for i in range(0, len(filled), batch_size)
  ]
  shape = make_shape(plans, rows, batch_size, num_blocks, packs)
  packed = [pack(plan, shape, packs) for plan in plans]
  return {name: np.stack([x[name] for x in packed]) for name in packed[0]}


def digest(data: Data) -> str:
  """A short name of what the rows say, wherever they were read."""
  import hashlib

  found = hashlib.sha256(data.kind.encode())
  for row in data.rows:
    items = [x if isinstance(x, str) else x.tolist() for x in row.items]
    found.update(repr((row.prompt, items, row.values, row.names)).encode())
  return found.hexdigest()[:16]


def stream(
    rows: Iterator[Any], shape: Shape, packs: bool = True
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
