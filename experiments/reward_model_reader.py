"""What a trained reward model reads: texts in, readouts of members out."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from experiments import (
    reward_model_backbones,
    reward_model_batches,
    reward_model_lanes,
    reward_model_losses,
)
from experiments.reward_model_backbones import Backbone, Model
from experiments.reward_model_batches import Coder
from experiments.reward_model_data import Row
from experiments.reward_model_lanes import Encoded, Shape
from rewardjax.core import checks, mapping
from rewardjax.data.steps import split_steps
from rewardjax.models.heads import VectorHead

_SMALLEST_ROOM = 32


class About(NamedTuple):
  """What is known of a model beside its parameters; kept as JSON.

  users: names in the order of their numbers.
  temperature: of differences of scores; 1 until it is fitted.
  offsets: mean score of each member on held-out completions.
  scales: the standard deviation; both None leave scores as they are.
  notes: what was found out about the labels, see `reward_model_noise`.
  """

  kind: str
  users: tuple[str, ...] = ()
  width: int = 0
  temperature: float = 1.0
  offsets: tuple[float, ...] | None = None
  scales: tuple[float, ...] | None = None
  notes: dict[str, Any] | None = None


def make_model(config, backbone: Backbone, about: About) -> Model:
  """The network of a config; its head is linear unless it says otherwise."""
  o = config.loss
  outputs = o.grades if o.name == "ordinal" else 1
  if about.users:
    outputs = config.prototypes
  head = VectorHead(outputs, widths=tuple(config.model.head_widths))
  has_tie = o.name == "rao_kupper" and not o.tie_factor
  return Model(backbone, head, outputs, len(about.users), has_tie)


def make_coder(config, backbone: Backbone) -> Coder:
  """How this run turns texts into tokens."""
  o = config.text
  checks.one_of("config.text", ("error", "cut"), too_long=o.too_long)
  return Coder(
      backbone.tokenizer, o.separator, backbone.chat, o.max_length, o.too_long
  )


@dataclasses.dataclass(frozen=True, eq=False)
class Reader:
  """Readouts of M members; a readout hangs on its own text alone.

  Attributes:
    config: of its training.
    backbone: what reads the texts.
    params: of the members, every leaf `[M, ...]`.
    about: what else was learned.
  """

  config: Any
  backbone: Backbone
  params: PyTree
  about: About

  @property
  def num_members(self) -> int:
    """M."""
    return jax.tree.leaves(self.params)[0].shape[0]

  @functools.cached_property
  def _model(self) -> Model:
    return make_model(self.config, self.backbone, self.about)

  @functools.cached_property
  def program(self):
    """Compiled once for each shape; rewards [M, B, K] of a block."""
    config, model = self.config, self._model

    def one(params, frozen, batch):
      outputs = reward_model_backbones.read(model, params, frozen, batch)
      user = batch["user"]
      found = reward_model_losses.rewards(config, params, outputs, user)
      return found[0]

    return jax.jit(mapping.over_members(one, (0, None, None)))

  @functools.cached_property
  def encoder(self):
    """Features [M, B, K, D] that the head reads, as `program`."""
    read = functools.partial(reward_model_backbones.features, self._model)
    one = lambda *args: read(*args)[0]
    return jax.jit(mapping.over_members(one, (0, None, None)))

  def readouts(self, prompts, completions, users, program=None):
    """[K, ..., M] of each completion, from blocks of the same shape."""
    program = program or self.program
    rows = self._encoded(prompts, completions, users)
    size = self.config.score_batch
    packs = self.backbone.packs
    while waiting := list(itertools.islice(rows, 8 * size)):
      shape = self._shape(waiting, packs)
      blocks = list(reward_model_lanes.stream(waiting, shape, packs))
      room = shape.room if packs else 0
      reads = max(reward_model_lanes.needed(x, room)[1] for x in blocks)
      shape = shape._replace(reads=_power_of_two(reads))
      for block in blocks:
        filled = [*block, *[None] * (size - len(block))]
        batch = reward_model_lanes.pack(filled, shape, packs)
        found = program(self.params, self.backbone.frozen, batch)
        found = np.moveaxis(np.asarray(found), 0, -1)
        for row, x in zip(block, found):
          yield x[: len(row.readouts)]

  def _shape(self, rows: list[Encoded], packs: bool) -> Shape:
    """Sizes in powers of two: few programs, whatever the texts."""
    size, width = self.config.score_batch, self.about.width
    lengths = reward_model_lanes.lengths_of(rows)
    room = _power_of_two(max(*lengths, 1 if width else _SMALLEST_ROOM))
    lanes = size
    if packs and not width:
      share = sum(lengths) / (len(lengths) * room)
      lanes = min(size, _power_of_two(math.ceil(1.2 * share * size)))
    readouts = _power_of_two(max(len(row.readouts) for row in rows))
    return Shape(1, lanes, room, size, readouts, 1, ("user",), width)

  def _encoded(self, prompts, completions, users) -> Iterator[Encoded]:
    coder = make_coder(self.config, self.backbone)
    numbers = {name: i for i, name in enumerate(self.about.users)}
    prompts = itertools.repeat("") if prompts is None else prompts
    users = itertools.repeat(None) if users is None else users
    for i, (prompt, x, user) in enumerate(zip(prompts, completions, users)):
      place = f"score: completion {i}"
      items = self._items(place, x)
      row = Row(place, prompt, items, {}, {})
      targets = {"user": numbers.get(user, -1)}
      yield reward_model_batches.encode(coder, self.about.kind, row, targets)

  def _items(self, place: str, x: Any) -> tuple[Any, ...]:
    if self.about.width:
      x = np.asarray(x, np.float32)
      if x.shape != (self.about.width,) or not np.isfinite(x).all():
        raise ValueError(
            f"{place}: must be a finite vector of {self.about.width} numbers, "
            f"got {x!r:.80}."
        )
      return (x,)
    if self.about.kind == "steps":
      if isinstance(x, str):
        x = split_steps(x, separator=self.config.steps.separator)
    else:
      x = (x,)
    if not x or not all(isinstance(text, str) and text.strip() for text in x):
      raise ValueError(f"{place}: must be a text that is not blank, got {x!r}.")
    return tuple(x)


def _power_of_two(x: int) -> int:
  return 2 ** math.ceil(math.log2(x))
