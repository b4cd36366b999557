"""Random arithmetic as a data set: `data.expressions`, written down."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from rewardjax.core import checks
from rewardjax.data import expressions
from rewardjax.data.builders import preparation


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
  """What to generate; the name is derived from it.

  Attributes:
    calculation: the generator; its `split` is set by the split.
    num_train: rows of the split "train".
    num_test: rows of the split "test".
    answer_noise: share of training rows whose answer is wrong; "test" has
      none. See `expressions.noisy_row`.
  """

  name: str = ""
  calculation: expressions.RandomCalculation = dataclasses.field(
      default_factory=expressions.RandomCalculation
  )
  num_train: int = 10_000
  num_test: int = 1_000
  answer_noise: float | int = 0.0

  def __post_init__(self):
    checks.probability("Config", answer_noise=self.answer_noise)
    self.name = self.name or preparation.fingerprint(
        calculation=dataclasses.asdict(self.calculation),
        num_train=self.num_train,
        num_test=self.num_test,
        answer_noise=self.answer_noise,
    )


class RandomCalculation(tfds.core.GeneratorBasedBuilder):
  """Rows with prompt, answer, truth, kind, kind_name and n_ops.

  Row i is item i. "answer" is what the row claims, "truth" what is right.
  """

  VERSION = tfds.core.Version("1.1.0")

  def _info(self) -> tfds.core.DatasetInfo:
    features = tfds.features.FeaturesDict(
        {
            "prompt": tfds.features.Text(),
            "answer": tfds.features.Text(),
            "truth": tfds.features.Text(),
            "kind": np.int32,
            "kind_name": tfds.features.Text(),
            "n_ops": np.int32,
        }
    )
    return tfds.core.DatasetInfo(
        builder=self, features=features, disable_shuffling=True
    )

  def _split_generators(self, dl_manager):
    del dl_manager  # nothing is downloaded
    sizes = dict(
        train=self.builder_config.num_train, test=self.builder_config.num_test
    )
    return {
        split: self._generate_examples(split, size)
        for split, size in sizes.items()
        if size
    }

  def _generate_examples(self, split: str, size: int):
    calculation = dataclasses.replace(
        self.builder_config.calculation, split=split
    )
    noise = self.builder_config.answer_noise if split == "train" else 0.0
    for i in range(size):
      yield i, expressions.noisy_row(calculation, i, noise=noise)
