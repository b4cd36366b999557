"""Rows of judgements as batches of arrays, in the order of their seed.

A batch is N blocks, each with its own rows; whatever splits a batch, devices
or microbatches, takes whole blocks. Axes: N blocks, L lanes, R places of a
lane, B rows of a block, K readouts of a row. All of it is NumPy and a
function of the seed, so that a run that was killed goes on with the batches
it would have had.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.reward_model_data import Data, Row
from experiments.reward_model_lanes import (
    Encoded,
    Shape,
    blocks_of,
    lengths_of,
    needed,
    pack,
)
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

  A lane is as long as the longest unit, in whole eights.
  """
  longest = max(lengths_of(rows))
  vectors = rows[0].sequences[0].ndim > 1
  room = longest if vectors else -(-longest // 8) * 8
  found = (
      needed(block, room if packs else 0)
      for plan in plans
      for block in blocks_of(plan, num_blocks)
  )
  lanes, reads = (max(x, 1) for x in map(max, zip(*found)))
  width = rows[0].sequences[0].shape[1] if vectors else 0
  readouts = max(len(row.readouts) for row in rows)
  size = batch_size // num_blocks
  targets = tuple(rows[0].targets)
  return Shape(num_blocks, lanes, room, size, readouts, reads, targets, width)


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
