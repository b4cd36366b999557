"""A trained reward model: scores, probabilities, on disk and back."""

import dataclasses
import functools
import json
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections as mlc
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
from rewardjax.reward_models import ensembles
from rewardjax.rewards.steps import aggregate_steps
from rewardjax.training.checkpoints import Checkpointer
from rewardjax.training.logging import write_atomically

AGGREGATES = {
    "mean": lambda x, k: ensembles.mean(x),
    "median": lambda x, k: ensembles.median(x),
    "min": lambda x, k: ensembles.worst_case(x),
    "mean_minus_std": lambda x, k: ensembles.mean_minus_std(x, coefficient=k),
    "mean_minus_variance": lambda x, k: ensembles.mean_minus_variance(
        x, coefficient=k
    ),
}
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
class RewardModel:
  """Texts in, scores out; higher is better.

  Attributes:
    config: of its training.
    backbone: what reads the texts.
    params: of the members, every leaf `[M, ...]`.
    about: what else was learned.
    history: rows of metrics of its training.
    measures: what `reward_model_report` found on rows kept for testing.
  """

  config: Any
  backbone: Backbone
  params: PyTree
  about: About
  history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
  measures: Any = None

  @property
  def num_members(self) -> int:
    """M."""
    return jax.tree.leaves(self.params)[0].shape[0]

  @functools.cached_property
  def _model(self) -> Model:
    return make_model(self.config, self.backbone, self.about)

  @functools.cached_property
  def _program(self):
    """Compiled once for each shape; rewards [M, B, K] of a block."""
    config, model = self.config, self._model

    def one(params, frozen, batch):
      outputs = reward_model_backbones.read(model, params, frozen, batch)
      user = batch["user"]
      found = reward_model_losses.rewards(config, params, outputs, user)
      return found[0]

    return jax.jit(mapping.over_members(one, (0, None, None)))

  @functools.cached_property
  def _encoder(self):
    """Features [M, B, K, D] that the head reads, as `_program`."""
    read = functools.partial(reward_model_backbones.features, self._model)
    one = lambda *args: read(*args)[0]
    return jax.jit(mapping.over_members(one, (0, None, None)))

  def members(
      self,
      prompts: Iterable[str] | None,
      completions: Iterable[Any],
      *,
      users: Iterable[str | None] | None = None,
  ) -> np.ndarray:
    """Scores [N, M] of every member; see `score`.

    Of models of steps: probabilities, aggregated within a completion.
    """
    found = list(self.stream(prompts, completions, users=users))
    return np.array(found).reshape(-1, self.num_members)

  def score(
      self,
      prompts: Iterable[str] | None,
      completions: Iterable[Any],
      *,
      users: Iterable[str | None] | None = None,
      meta: Any = None,
  ) -> np.ndarray:
    """One score [N] per completion, of all members together.

    A score hangs on its own prompt and completion: not on what else is
    scored, nor on padding. `experiments.evaluate_rewards` calls it so.

    Args:
      prompts: texts; None where completions are vectors.
      completions: texts, or vectors [D].
      users: who judges; None, or an unknown name, is the mean of all users.
      meta: ignored.

    Raises:
      ValueError: for a completion without text, and one that is too long.
    """
    del meta
    if isinstance(prompts, str) or isinstance(completions, str):
      raise ValueError("score: prompts and completions must be lists of texts.")
    return self.aggregate(self.members(prompts, completions, users=users))

  def features(self, texts: Iterable[str]) -> np.ndarray:
    """What the head reads at the end of each text, [N, M * D].

    Of all members, one behind the other; the parameters are held. There is no
    prompt: the text is what is completed.

    Raises:
      ValueError: as `score`.
    """
    if isinstance(texts, str):
      raise ValueError("features: texts must be a list of texts.")
    found = self._readouts(None, texts, None, self._encoder)
    return np.stack([x[-1].T.reshape(-1) for x in found])

  def aggregate(self, members: np.ndarray) -> np.ndarray:
    """From [..., M] to [...] by `config.aggregate`."""
    o = self.config.aggregate
    checks.one_of("config.aggregate", AGGREGATES, name=o.name)
    if members.shape[-1] == 1:
      return members[..., 0]
    found = jax.jit(AGGREGATES[o.name])(self._scaled(members), o.coefficient)
    return np.asarray(found)

  def _scaled(self, members: np.ndarray) -> np.ndarray:
    """Members on one scale, their mean one: a minimum can compare them."""
    if self.about.offsets is None:
      return members
    scales = np.asarray(self.about.scales, members.dtype)
    offsets = np.asarray(self.about.offsets, members.dtype)
    kept = np.where(scales > 0, scales, 1.0).astype(members.dtype)
    return (members - offsets) / kept * np.mean(kept)

  def probability(
      self,
      prompts: Iterable[str] | None,
      first: Iterable[Any],
      second: Iterable[Any],
      *,
      users: Iterable[str | None] | None = None,
  ) -> np.ndarray:
    """Calibrated probability [N] that the first completion is better."""
    prompts, users = (x if x is None else list(x) for x in (prompts, users))
    margins = self.score(prompts, first, users=users) - self.score(
        prompts, second, users=users
    )
    return 1 / (1 + np.exp(-margins / self.about.temperature))

  def stream(
      self,
      prompts: Iterable[str] | None,
      completions: Iterable[Any],
      *,
      users: Iterable[str | None] | None = None,
  ) -> Iterator[np.ndarray]:
    """Scores [M] of each completion in their order, few in memory at once."""
    for found in self._readouts(prompts, completions, users):
      yield self._reduce(found)

  def score_steps(
      self, prompts: Sequence[str], steps: Sequence[Sequence[str]]
  ) -> list[np.ndarray]:
    """Probabilities that each step is right, [K] for each completion.

    Raises:
      ValueError: unless the model was trained on steps.
    """
    if self.about.kind != "steps":
      raise ValueError(
          f"score_steps: the model was trained on {self.about.kind}, not steps."
      )
    found = self._readouts(prompts, steps, None)
    return [self.aggregate(_sigmoid(x)) for x in found]

  def _reduce(self, found: np.ndarray) -> np.ndarray:
    """Readouts [K, M] of one completion as one number of each member."""
    if self.about.kind == "ratings":
      low, high = self.config.loss.scale
      return low + (found[0] + 1) * (high - low) / 2
    if self.about.kind != "steps":
      return found[0]
    how = "last" if self.config.loss.name == "orm" else self.config.steps.how
    aggregate = jax.jit(aggregate_steps, static_argnames="how")
    return np.asarray(aggregate(_sigmoid(found).T, how=how))

  def _readouts(self, prompts, completions, users, program=None):
    """[K, ..., M] of each completion, from blocks of the same shape."""
    program = program or self._program
    rows = self._encoded(prompts, completions, users)
    size = self.config.score_batch
    packs = self.backbone.packs
    while waiting := _some(rows, 8 * size):
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
    prompts = _repeat("") if prompts is None else prompts
    users = _repeat(None) if users is None else users
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

  def save(self, directory: str | os.PathLike) -> pathlib.Path:
    """Writes parameters and all that `load` needs; returns the directory."""
    directory = pathlib.Path(directory)
    with Checkpointer(directory / "parameters", keep=1) as checkpointer:
      checkpointer.save(0, self.params)
    about = {"config": self.config.to_dict(), "about": self.about._asdict()}
    write_atomically(directory / "model.json", json.dumps(about) + "\n")
    return directory


def load(
    directory: str | os.PathLike, *, backbone: Backbone | None = None
) -> RewardModel:
  """A model that was saved, or that the command left in its run directory.

  Args:
    directory: of `RewardModel.save`, or one with `model` in it.
    backbone: the one it was trained with, where it was your own.

  Raises:
    ValueError: if there is no model, or it is another network's.
    RuntimeError: if its parameters are damaged.
  """
  directory = pathlib.Path(directory)
  if (directory / "model" / "model.json").exists():
    directory = directory / "model"
  try:
    found = json.loads((directory / "model.json").read_text())
  except (OSError, ValueError) as error:
    raise ValueError(f"load: no reward model in {directory}: {error}") from None
  config = mlc.FrozenConfigDict(found["config"])
  about = About(**{
      name: tuple(x) if isinstance(x, list) else x
      for name, x in found["about"].items()
  })
  backbone = backbone or reward_model_backbones.make(config, about.width)
  model = make_model(config, backbone, about)
  one = jax.eval_shape(
      lambda key: reward_model_backbones.init(model, key, about.width),
      jax.random.key(0),
  )
  stacked = lambda x: jax.ShapeDtypeStruct((config.members, *x.shape), x.dtype)
  target = jax.tree.map(stacked, one)
  with Checkpointer(directory / "parameters") as checkpointer:
    restored = checkpointer.restore(target)
  if restored is None:
    raise ValueError(f"load: no parameters in {directory}.")
  params = jax.device_get(restored.tree)
  return RewardModel(config, backbone, params, about)


def _power_of_two(x: int) -> int:
  return 2 ** math.ceil(math.log2(x))


def _sigmoid(x: np.ndarray) -> np.ndarray:
  return 1 / (1 + np.exp(-x))


def _some(rows: Iterator[Any], count: int) -> list[Any]:
  return [row for _, row in zip(range(count), rows)]


def _repeat(value):
  while True:
    yield value
