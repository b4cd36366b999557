"""Benchmarks of chains of steps in which the first error is to be found."""

import os
from collections.abc import Iterable, Iterator

from rewardjax.data.benchmarks import reading
from rewardjax.data.benchmarks.lists import prefixes
from rewardjax.data.benchmarks.reading import Record
from rewardjax.types import EvalRow


def process_bench(
    path: str | os.PathLike, *, columns: Iterable[str] = ()
) -> Iterator[EvalRow]:
  """ProcessBench: id, problem, steps, label (first wrong step, -1 for none).

  Args:
    path: JSON lines or Parquet.
    columns: others to hand to the scorer as `meta`.

  Yields:
    Rows whose texts are the prefixes of a chain, one per step; the first
    `num_correct` hold no error, all of them where the chain is right. The
    subset is what the id begins with: "gsm8k" for "gsm8k-12".

  Raises:
    ValueError: naming file, row and field.

  References:
    Zheng et al., "ProcessBench: Identifying Process Errors in Mathematical
      Reasoning", 2024, arXiv:2412.06559.
  """

  def make(record: Record) -> EvalRow:
    steps, label = record.texts("steps"), record.integer("label")
    if not -1 <= label < len(steps):
      raise ValueError(
          f"{record.place}: field 'label' must be -1 or the place of one of "
          f"{len(steps)} steps, got {label}."
      )
    name = record.name("id")
    return EvalRow(
        name,
        "",
        name.rpartition("-")[0] or name,
        record.text("problem"),
        prefixes(steps),
        len(steps) if label < 0 else label,
    )

  fields = ("id", "problem", "steps", "label")
  return reading.eval_rows(path, make, fields, columns)
