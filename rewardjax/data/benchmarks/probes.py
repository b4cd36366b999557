"""Labelled texts on which the features of a reward model are probed."""

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rewardjax.data.benchmarks import reading


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
    path: a JSON list, as published, JSON lines or Parquet; all are streamed.
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
  for record in reading.records(path, ("input", "output", "label")):
    text = record.text("input") + record.text("output")
    label = record.integer("label")
    if label < 0:
      raise ValueError(
          f"{record.place}: field 'label' must be at least 0, got {label}."
      )
    if count_tokens is None or count_tokens(text) <= max_tokens:
      yield ProbeRow(text, label)
