"""Labelled texts on which the features of a reward model are probed."""

import os
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rewardjax.data.benchmarks import reading


class ProbeRow(NamedTuple):
  """One text, and its class in the dimension that is probed."""

  text: str
  label: int


LEVELS = {"easy": "mrm_easy", "hard": "mrm_hard"}


def mrmbench_files(
    folder: str | os.PathLike,
) -> dict[str, dict[str, dict[str, pathlib.Path]]]:
  """The files of a folder that is laid out as MRMBench is published.

      mrm_easy/<dimension>/train.json, mrm_easy/<dimension>/test.json, mrm_hard

  Returns:
    By level (easy, hard), dimension and part (train, test); a level or a
    dimension that is not there is left out.

  Raises:
    ValueError: naming the folder, if it has no level, or a dimension lacks a
      part.
  """
  folder = pathlib.Path(folder)
  found: dict = {}
  for level, name in LEVELS.items():
    for path in sorted(x for x in (folder / name).glob("*") if x.is_dir()):
      parts = {part: path / f"{part}.json" for part in ("train", "test")}
      missing = [x for x in parts.values() if not x.exists()]
      if missing:
        raise ValueError(f"{missing[0]}: there is no such file.")
      found.setdefault(level, {})[path.name] = parts
  if not found:
    raise ValueError(
        f"{folder}: expected folders {' or '.join(LEVELS.values())} with one "
        "for each dimension."
    )
  return found


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
