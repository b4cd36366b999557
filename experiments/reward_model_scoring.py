"""A trained reward model: scores, probabilities, on disk and back."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import ml_collections as mlc
import numpy as np

from experiments import reward_model_backbones
from experiments.reward_model_backbones import Backbone
from experiments.reward_model_reader import About, Reader, make_model
from rewardjax.core import checks
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


@dataclasses.dataclass(frozen=True, eq=False)
class RewardModel(Reader):
  """Texts in, scores out; higher is better.

  Attributes, beside those of `Reader`:
    history: rows of metrics of its training.
    measures: what `reward_model_report` found on rows kept for testing.
  """

  history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
  measures: Any = None

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
    found = self.readouts(None, texts, None, self.encoder)
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
    for found in self.readouts(prompts, completions, users):
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
    found = self.readouts(prompts, steps, None)
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


def _sigmoid(x: np.ndarray) -> np.ndarray:
  return 1 / (1 + np.exp(-x))


