"""A user's file of prompts and answers, one JSON object a line."""

import dataclasses
import hashlib
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from rewardjax.data import jsonl
from rewardjax.data.builders import preparation


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
  """Which file; the name is derived from what the file holds.

  Attributes:
    path: of the file.
    prompt_field: its column of prompts, stored as "prompt".
    answer_field: its column of references, stored as "answer".
  """

  name: str = ""
  path: str = ""
  prompt_field: str = "prompt"
  answer_field: str = "answer"

  def __post_init__(self):
    content = pathlib.Path(self.path).read_bytes()
    # By contents, so that an edited file is read again.
    self.name = self.name or preparation.fingerprint(
        content=hashlib.sha256(content).hexdigest(),
        prompt_field=self.prompt_field,
        answer_field=self.answer_field,
    )


class PromptsJsonl(tfds.core.GeneratorBasedBuilder):
  """The rows of the file in their order, as the split "train"."""

  VERSION = tfds.core.Version("1.0.0")

  def _rows(self):
    config = self.builder_config
    return jsonl.read(
        config.path,
        prompt_field=config.prompt_field,
        answer_field=config.answer_field,
    )

  def _info(self) -> tfds.core.DatasetInfo:
    features = {
        str: tfds.features.Text(),
        bool: np.bool_,
        int: np.int64,
        float: np.float64,
    }
    columns = {k: features[type(v)] for k, v in self._rows()[0].items()}
    return tfds.core.DatasetInfo(
        builder=self,
        features=tfds.features.FeaturesDict(columns),
        disable_shuffling=True,
    )

  def _split_generators(self, dl_manager):
    del dl_manager  # nothing is downloaded
    return {"train": self._generate_examples()}

  def _generate_examples(self):
    yield from enumerate(self._rows())
