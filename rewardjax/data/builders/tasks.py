"""Endless tasks as data sets: small edits, routes and tool calls.

    config = tasks.Config(tasks=ToolTasks(seed=1), num_train=1000)
    builder = preparation.prepare(tasks.ToolCalls, config)

Any generator with `generator[i]`, `split` and rows of text and numbers fits.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rewardjax.data import edit_tasks, route_tasks, tool_tasks
from rewardjax.data.builders import preparation

_FEATURES = {str: tfds.features.Text(), bool: np.bool_, int: np.int64}


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
  """What to generate; the name is derived from it.

  Attributes:
    tasks: the generator; its `split` is set by the split. None is the
      builder's own with its defaults.
    num_train: rows of the split "train".
    num_test: rows of the split "test".
  """

  name: str = ""
  tasks: Any = None
  num_train: int = 10_000
  num_test: int = 1_000

  def __post_init__(self):
    made = dataclasses.asdict(self.tasks) if self.tasks else None
    self.name = self.name or preparation.fingerprint(
        kind=type(self.tasks).__name__,
        tasks=made,
        num_train=self.num_train,
        num_test=self.num_test,
    )


class _Rows:
  """Row i of a split is item i of the generator."""

  VERSION = tfds.core.Version("1.0.0")
  GENERATOR: type

  def _tasks(self, split: str):
    tasks = self.builder_config.tasks or self.GENERATOR()
    if not isinstance(tasks, self.GENERATOR):
      raise ValueError(
          f"Config: tasks must be of {self.GENERATOR.__name__}, got {tasks}."
      )
    return dataclasses.replace(tasks, split=split)

  def _info(self) -> tfds.core.DatasetInfo:
    row = self._tasks("train")[0]
    columns = {name: _FEATURES[type(x)] for name, x in row.items()}
    return tfds.core.DatasetInfo(
        builder=self,
        features=tfds.features.FeaturesDict(columns),
        disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager  # nothing is downloaded
    config = self.builder_config
    sizes = {"train": config.num_train, "test": config.num_test}
    return {
        split: self._generate_examples(split, size)
        for split, size in sizes.items()
        if size
    }

  def _generate_examples(self, split: str, size: int):
    tasks = self._tasks(split)
    for i in range(size):
      yield i, tasks[i]


class SmallEdits(_Rows, tfds.core.GeneratorBasedBuilder):
  """Rows of `data.edit_tasks`, 13 in a row for each task."""

  GENERATOR = edit_tasks.EditTasks


class Routes(_Rows, tfds.core.GeneratorBasedBuilder):
  """Rows of `data.route_tasks`, each with a map of its own."""

  GENERATOR = route_tasks.RouteTasks


class ToolCalls(_Rows, tfds.core.GeneratorBasedBuilder):
  """Rows of `data.tool_tasks`."""

  GENERATOR = tool_tasks.ToolTasks
