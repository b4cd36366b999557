"""Traced arithmetic as a data set: `data.traced_integers`, written down."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from rewardjax.data import traced_integers
from rewardjax.data.builders import preparation

_BLOCK = 1024


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
  """What to generate; the name is derived from it.

  Attributes:
    traced: the generator; its `split` is set by the split, and the split
      "test" is free of noise.
    num_train: rows of the split "train".
    num_test: rows of the split "test".
  """

  name: str = ""
  traced: traced_integers.TracedIntegers = dataclasses.field(
      default_factory=traced_integers.TracedIntegers
  )
  num_train: int = 10_000
  num_test: int = 1_000

  def __post_init__(self):
    self.name = self.name or preparation.fingerprint(
        traced=dataclasses.asdict(self.traced),
        num_train=self.num_train,
        num_test=self.num_test,
    )


class TracedIntegers(tfds.core.GeneratorBasedBuilder):
  """Rows with prompt, completion, answer and noised; row i is item i."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self) -> tfds.core.DatasetInfo:
    features = tfds.features.FeaturesDict(
        {
            "prompt": tfds.features.Text(),
            "completion": tfds.features.Text(),
            "answer": tfds.features.Text(),
            "noised": np.bool_,
        }
    )
    return tfds.core.DatasetInfo(
        builder=self, features=features, disable_shuffling=True
    )

  def _split_generators(self, dl_manager):
    del dl_manager  # nothing is downloaded
    config = self.builder_config
    splits = {
        "train": (config.num_train, {}),
        "test": (config.num_test, {"noise": "none"}),
    }
    return {
        split: self._generate_examples(
            dataclasses.replace(config.traced, split=split, **changes), size
        )
        for split, (size, changes) in splits.items()
        if size
    }

  def _generate_examples(
      self, traced: traced_integers.TracedIntegers, size: int
  ):
    for start in range(0, size, _BLOCK):
      rows = traced.rows(start, min(start + _BLOCK, size))
      yield from enumerate(rows, start)
