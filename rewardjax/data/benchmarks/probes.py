"""Labelled texts on which the features of a reward model are probed."""

import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rewardjax.data.benchmarks import reading
from rewardjax.data.benchmarks.reading import Record


class ProbeRow(NamedTuple):
  """One text, and its class in the dimension that is probed."""

  text: str
  label: int


def mrmbench(
    path: str | os.PathLike,
    *,
    count_tokens: Callable[[str], int] | None = None,
    max_tokens: int = 512,
) -> Iterator[ProbeRow]:
  """MRMBench: input, output, label; one file per dimension and part.

  Args:
    path: a JSON list, as published, which is read as a whole; or JSON lines
      or Parquet, which are streamed.
    count_tokens: of the model that is probed; None keeps every row.
    max_tokens: longer texts are dropped, as the benchmark does.

  Yields:
    The input and the output as one text, without anything between them.

  Raises:
    ValueError: naming file, row and field.

  References:
    "Probing Preference Representations: A Multi-Dimensional Evaluation and
      Analysis Method for Reward Models".
  """
  for record in _records(path):
    text = record.text("input") + record.text("output")
    label = record.integer("label")
    if label < 0:
      raise ValueError(
          f"{record.place}: field 'label' must be at least 0, got {label}."
      )
    if count_tokens is None or count_tokens(text) <= max_tokens:
      yield ProbeRow(text, label)


def _records(path) -> Iterator[Record]:
  if pathlib.Path(path).suffix != ".json":
    yield from reading.records(path, ("input", "output", "label"))
    return
  place = os.fspath(path)
  with open(path, encoding="utf-8-sig") as file:
    try:
      rows = json.load(file)
    except ValueError as error:
      raise ValueError(f"{place}: {error}.") from error
  if not isinstance(rows, list):
    raise ValueError(f"{place}: expected a list of rows.")
  for number, row in enumerate(rows, 1):
    if not isinstance(row, dict):
      raise ValueError(f"{place}, row {number}: expected an object.")
    yield Record(f"{place}, row {number}", row)
