"""Rows of judgements from files, data sets and arrays; parts of them.

A file has one JSON object per line, or is Parquet; "tfds:name",
"tfds:name/config" or "tfds:" and the directory of a version is a data set of
TensorFlow Datasets; "multi_rm:law.json,math.json" are chains of steps as
Multi-RM has them. What a row holds: `experiments/reward_model_rows.py`.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from experiments import reward_model_rows
from experiments.reward_model_rows import KINDS, Row
from rewardjax.core import checks
from rewardjax.data.benchmarks import answers, reading
from rewardjax.data.benchmarks.reading import Record


@dataclasses.dataclass(frozen=True)
class Data:
  """Rows of one kind."""

  kind: str
  rows: tuple[Row, ...]

  def __len__(self) -> int:
    return len(self.rows)

  def names(self, field: str) -> list[str]:
    """The distinct names of a field, sorted."""
    return sorted({r.names[field] for r in self.rows if field in r.names})

  @property
  def width(self) -> int:
    """D where items are vectors, 0 where they are texts."""
    first = self.rows[0].items[0]
    return 0 if isinstance(first, str) else len(first)


def read(path: str | os.PathLike, *, kind: str, split: str = "train") -> Data:
  """The rows of a file, or of a tfds data set.

  Args:
    path: ends in .jsonl, .json or .parquet, or starts with "tfds:"; files
      behind "multi_rm:" have the fields of `answers.multi_rm_steps`.
    kind: one of `KINDS`; "steps" for "multi_rm:".
    split: of a tfds data set.

  Raises:
    ValueError: naming file, line and field of the first row that makes no
      sense.
    OSError: if there is no such file.
  """
  path = os.fspath(path)
  if path.startswith("multi_rm:"):
    names = path.removeprefix("multi_rm:").split(",")
    found = (x for name in names for x in answers.multi_rm_steps(name))
    return _make(kind, found, path)
  if not path.startswith("tfds:"):
    return _make(kind, reading.records(path), path)
  source = _data_source(path, path.removeprefix("tfds:"), split)
  return from_rows(source, kind=kind, name=path)


def _data_source(path: str, name: str, split: str):
  """Of a data set by name, or of the directory in which one was prepared."""
  import tensorflow_datasets as tfds

  if not os.path.isdir(name):
    return tfds.data_source(name, split=split)
  try:
    return tfds.builder_from_directory(name).as_data_source(split)
  except NotImplementedError as error:
    raise ValueError(
        f"{path}: rows are read at random: prepare it with file_format="
        "'array_record'."
    ) from error


def from_rows(
    rows: Iterable[Mapping[str, Any]], *, kind: str, name: str = "rows"
) -> Data:
  """Rows that are there already: dicts, or a tfds data source.

  Raises:
    ValueError: naming the number of the row, from 0, and the field.
  """
  found = (
      Record(f"{name}, row {i}", {k: _plain(x) for k, x in row.items()})
      for i, row in enumerate(rows)
  )
  return _make(kind, found, name)


def from_arrays(*, kind: str, **columns: Any) -> Data:
  """Columns of equal length: lists of texts, or features [N, D].

  Without `prompt` every row is a prompt of its own; beside features a prompt
  only says which rows belong together.

  Raises:
    ValueError: naming the column, or the row and field, that makes no sense.
  """
  sizes = {name: len(column) for name, column in columns.items()}
  if len(set(sizes.values())) != 1:
    raise ValueError(f"from_arrays: columns must be equally long, got {sizes}.")
  count = next(iter(sizes.values()))
  columns.setdefault("prompt", [str(i) for i in range(count)])
  rows = ({k: x[i] for k, x in columns.items()} for i in range(count))
  return from_rows(rows, kind=kind, name="arrays")


def _plain(x: Any) -> Any:
  """NumPy and tfds as Python has it; vectors of floats stay."""
  if isinstance(x, bytes):
    return x.decode("utf-8")
  if hasattr(x, "__array__") and not isinstance(x, np.generic):
    x = np.asarray(x)
    if x.ndim and x.dtype.kind == "f":
      return x.astype(np.float32) if x.ndim == 1 else list(map(_plain, x))
    x = x.tolist()
  if isinstance(x, np.generic):
    return _plain(x.item())
  return [_plain(v) for v in x] if isinstance(x, list | tuple) else x


def _make(kind: str, records: Iterable[Record], name: str) -> Data:
  checks.one_of("reward_model.read", KINDS, kind=kind)
  rows = tuple(reward_model_rows.make(kind, record) for record in records)
  if not rows:
    raise ValueError(f"{name}: no row.")
  for row in rows:
    _check_width(row, rows[0])
  return Data(kind, rows)


def _check_width(row: Row, first: Row):
  shapes = {np.shape(x) for x in (*row.items, first.items[0])}
  if len(shapes) > 1:
    raise ValueError(
        f"{row.place}: items must all be texts, or vectors of one length, got "
        f"shapes {sorted(shapes)}."
    )


def split(data: Data, *shares: float, seed: int) -> list[Data]:
  """Parts with about these shares of the prompts, and before them the rest.

  All rows of a prompt are in one part; which one, hangs on the seed alone.

  Raises:
    ValueError: if a part that was asked for gets no prompt.
  """
  prompts = sorted({row.prompt for row in data.rows})
  order = np.random.default_rng(seed).permutation(len(prompts))
  counts = [round(share * len(prompts)) if share else 0 for share in shares]
  counts = [max(n, 1) if share else 0 for n, share in zip(counts, shares)]
  if sum(counts) >= len(prompts):
    raise ValueError(
        f"split: {len(prompts)} prompts are too few for the shares {shares} "
        "and something to train on."
    )
  ends = np.cumsum(counts)
  part = np.searchsorted(ends, np.arange(len(prompts)), side="right")
  of = {prompts[i]: int(k) for i, k in zip(order, part)}
  chosen = lambda k: tuple(r for r in data.rows if of[r.prompt] == k)
  last = len(shares)
  return [Data(data.kind, chosen(k)) for k in (last, *range(last))]
