"""Tasks of reasoning-gym as a data set: several of its generators, mixed.

reasoning-gym makes item i of a data set from the seed `seed + i`: the items
of two neighbouring seeds are nearly all the same. Here the splits draw from
two halves of the seeds, and no question appears twice, in either split.
"""

import dataclasses
import difflib
import hashlib
import importlib.metadata
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rewardjax.core import checks, exact_json
from rewardjax.data.builders import preparation

# Seeds are below 2**31: train in the lower half, test in the upper one.
_HALF = 2**30
# Items that may be drawn for each row that is wanted.
_PATIENCE = 20
# Of version 0.1.25: they iterate over sets, whose order is another one in every
# process.
_UNSTABLE = (
    "codeio",
    "intermediate_integration",
    "isomorphic_strings",
    "knight_swap",
    "list_functions",
    "polynomial_multiplication",
    "ransom_note",
    "word_ladder",
)


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
  """What to generate; the name is derived from it and the installed version.

  Attributes:
    datasets: (name, parameters) of each data set of reasoning-gym, or (name,
      parameters, weight) for a share of the rows other than an equal one.
      Parameters are the fields of its configuration, such as `min_terms`.
    num_train: rows of the split "train".
    num_test: rows of the split "test".
    seed: another one gives other rows.

  Raises:
    ImportError: if reasoning-gym is not installed.
    ValueError: naming the data set and the field, for a name or parameter
      that reasoning-gym does not know or accept.
  """

  name: str = ""
  datasets: Sequence[Sequence[Any]] = (("chain_sum", {}),)
  num_train: int = 10_000
  num_test: int = 1_000
  seed: int = 0

  def __post_init__(self):
    checks.at_least("Config", 0, num_train=self.num_train)
    checks.at_least("Config", 0, num_test=self.num_test)
    if not self.datasets:
      raise ValueError("Config: datasets must not be empty.")
    # A config library may have made lists of our tuples, and no dicts.
    rows = [(x[0], dict(x[1]), *x[2:]) for x in self.datasets]
    self.datasets = tuple(
        (name, values, float(weight[0]) if weight else 1.0)
        for name, values, *weight in rows
    )
    for name, values, weight in self.datasets:
      checks.within("Config", 0.0, low_open=True, weight=weight)
      _create(name, values, seed=0, size=1)
    self.name = self.name or preparation.fingerprint(
        datasets=self.datasets,
        num_train=self.num_train,
        num_test=self.num_test,
        seed=self.seed,
        version=importlib.metadata.version("reasoning-gym"),
    )


class ReasoningGym(tfds.core.GeneratorBasedBuilder):
  """Rows with prompt, answer, kind, source and metadata.

  `kind` is the place in `Config.datasets` and `source` the name there.
  `metadata` is JSON (`core.exact_json`): the source, its parameters, and the
  whole entry, which is what `rewards.verifiers.reasoning_gym.score` takes as
  the reference. The answer of a data set that has many right ones, and names
  none, is empty. In every prefix of a split each data set has its share of
  the rows, up to one row.
  """

  VERSION = tfds.core.Version("1.0.0")

  def _info(self) -> tfds.core.DatasetInfo:
    features = tfds.features.FeaturesDict(
        {
            "prompt": tfds.features.Text(),
            "answer": tfds.features.Text(),
            "kind": np.int32,
            "source": tfds.features.Text(),
            "metadata": tfds.features.Text(),
        }
    )
    return tfds.core.DatasetInfo(
        builder=self, features=features, disable_shuffling=True
    )

  def _split_generators(self, dl_manager):
    del dl_manager  # nothing is downloaded
    config = self.builder_config
    rows = split_rows(
        config.datasets, config.num_train, config.num_test, config.seed
    )
    return {
        split: self._generate_examples(items)
        for split, items in rows.items()
        if items
    }

  def _generate_examples(self, rows: list[dict[str, Any]]):
    yield from enumerate(rows)


def split_rows(
    datasets: Sequence[tuple[str, dict[str, Any], float]],
    num_train: int,
    num_test: int,
    seed: int,
) -> dict[str, list[dict[str, Any]]]:
  """The rows of both splits, mixed by weight.

  Raises:
    ValueError: if a data set has too few distinct questions.
  """
  taken = set()
  rows = {}
  # The test split first: it stays the same when the train split grows.
  for split, size in (("test", num_test), ("train", num_train)):
    kinds = _mix([weight for *_, weight in datasets], size)
    streams = [
        _rows(kind, name, values, split, seed, kinds.count(kind), taken)
        for kind, (name, values, _) in enumerate(datasets)
    ]
    rows[split] = [next(streams[kind]) for kind in kinds]
  return rows


def _mix(weights: Sequence[float], size: int) -> list[int]:
  """Which data set gives each row: always the one that is most behind."""
  shares = np.array(weights) / np.sum(weights)
  counts = np.zeros(len(weights))
  kinds = []
  for i in range(size):
    kind = int(np.argmax(shares * (i + 1) - counts))
    counts[kind] += 1
    kinds.append(kind)
  return kinds


def _rows(
    kind: int,
    name: str,
    values: dict[str, Any],
    split: str,
    seed: int,
    size: int,
    taken: set[str],
) -> Iterator[dict[str, Any]]:
  """Rows of one data set whose questions are not taken yet."""
  draws = _PATIENCE * size + 100
  start = _first_seed(kind, name, seed) + (_HALF if split == "test" else 0)
  source = _create(name, values, seed=start, size=draws)
  again = _create(name, values, seed=start, size=draws)
  found = 0
  for i in range(draws):
    if found == size:
      return
    entry = source[i]
    if found == 0 and entry != again[i]:
      raise ValueError(
          f"reasoning_gym: dataset {name!r} gives another item each time; it "
          "cannot be reproduced."
      )
    if entry["question"] in taken:
      continue
    taken.add(entry["question"])
    found += 1
    yield _row(kind, name, values, entry)
  raise ValueError(
      f"reasoning_gym: dataset {name!r} with {values} gave only {found} "
      f"questions for the {split} split that are not in use yet, in {draws} "
      f"items; {size} are wanted. Ask for fewer rows, or widen its parameters."
  )


def _first_seed(kind: int, name: str, seed: int) -> int:
  """Where a data set starts: in the first half of its half of the seeds.

  The rest is room for 500 million items.
  """
  digest = hashlib.sha256(f"{seed}/{kind}/{name}".encode()).digest()
  return int.from_bytes(digest[:8], "little") % (_HALF // 2)


def _row(
    kind: int, name: str, values: dict[str, Any], entry: dict[str, Any]
) -> dict[str, Any]:
  metadata = exact_json.dumps(
      {"source": name, "parameters": values, "entry": entry},
      default=str,  # gsm_symbolic tells some of its variables as fractions
  )
  return {
      "prompt": entry["question"],
      "answer": entry["answer"] or "",
      "kind": kind,
      "source": name,
      "metadata": metadata,
  }


def _create(name: str, values: Mapping[str, Any], *, seed: int, size: int):
  """One of reasoning-gym's data sets, or an error that says what is wrong."""
  import reasoning_gym
  from reasoning_gym import factory

  # It mixes others, as we do; its scorer would need them all.
  known = set(factory.DATASETS) - {"composite"}
  if name not in known:
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else "see its gallery."
    raise ValueError(
        f"reasoning_gym: datasets has the unknown name {name!r}; {hint}"
    )
  if name in _UNSTABLE and not os.environ.get("PYTHONHASHSEED", "").isdigit():
    raise ValueError(
        f"reasoning_gym: dataset {name!r} gives other rows in every process; "
        "start Python with PYTHONHASHSEED=0."
    )
  fields = {x.name for x in dataclasses.fields(factory.DATASETS[name][1])}
  fields -= {"seed", "size"}
  for field in values:
    if field not in fields:
      raise ValueError(
          f"reasoning_gym: dataset {name!r} has no parameter {field!r}; it has "
          f"{', '.join(sorted(fields))}."
      )
  try:
    return reasoning_gym.create_dataset(name, **values, seed=seed, size=size)
  except Exception as error:
    raise ValueError(
        f"reasoning_gym: dataset {name!r} refuses {dict(values)}: "
        f"{type(error).__name__}: {error}."
    ) from error
