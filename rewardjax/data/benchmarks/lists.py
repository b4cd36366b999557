"""Benchmarks with one or several right answers among many."""

import os
from collections.abc import Iterable, Iterator
from itertools import accumulate

from rewardjax.data.benchmarks import reading
from rewardjax.data.benchmarks.reading import Record
from rewardjax.types import EvalRow

SEPARATOR = "\n\n"


def prefixes(steps: Iterable[str], *, separator: str = SEPARATOR) -> tuple:
  """What stands after each step: all steps up to it, joined."""
  return tuple(accumulate(steps, lambda a, b: a + separator + b))


def rewardbench2(
    path: str | os.PathLike, *, columns: Iterable[str] = ()
) -> Iterator[EvalRow]:
  """RewardBench 2: id, prompt, chosen and rejected (lists), subset.

  Args:
    path: JSON lines or Parquet.
    columns: others to hand to the scorer as `meta`.

  Yields:
    Rows with all chosen answers, then all rejected ones. In the subset Ties
    the group is the row's id, "ref:7" or "tied:7", two rows of one prompt.

  Raises:
    ValueError: naming file, row and field; also where `num_correct` and
      `num_incorrect` are there and are not the lengths of the lists.

  References:
    "RewardBench 2: Advancing Reward Model Evaluation".
  """
  fields = {
      "id", "prompt", "chosen", "rejected", "subset", "num_correct",
      "num_incorrect",
  }  # fmt: skip

  def make(record: Record) -> EvalRow:
    chosen, rejected = record.texts("chosen"), record.texts("rejected")
    sizes = dict(num_correct=chosen, num_incorrect=rejected)
    for name, texts in sizes.items():
      if name in record.fields and record.integer(name) != len(texts):
        raise ValueError(
            f"{record.place}: field {name!r} must be {len(texts)}, the "
            f"number of answers, got {record.fields[name]!r}."
        )
    subset, name = record.name("subset"), record.name("id")
    ties = subset.lower() == "ties"
    if ties:
      record.value("id", _tie_id, "ref:<number> or tied:<number>")
    return EvalRow(
        f"{subset}/{name}",
        name if ties else "",
        "Ties" if ties else subset,
        record.text("prompt"),
        chosen + rejected,
        len(chosen),
    )

  return reading.eval_rows(path, make, fields, columns)


def _tie_id(value):
  kind, number = value.split(":")
  if kind not in ("ref", "tied") or not number.isdigit():
    raise ValueError
  return kind, int(number)


def rewardmath_pairs(
    path: str | os.PathLike, *, columns: Iterable[str] = ()
) -> Iterator[EvalRow]:
  """RewardMATH for judges of pairs: nine rows a problem, two solutions a row.

  Args:
    path: JSON or Parquet with problem, problem_id, eval_solution_A and
      eval_solution_B (lists of steps), chosen_position (A, B),
      solution_reference (who wrote the rejected one).
    columns: others to hand to the scorer or judge as `meta`.

  Yields:
    Rows of the chosen and the rejected solution; the group is the problem.

  Raises:
    ValueError: naming file, row and field.

  References:
    As `rewardmath`.
  """
  fields = {
      "problem", "problem_id", "eval_solution_A", "eval_solution_B",
      "chosen_position", "solution_reference", "subject",
  }  # fmt: skip

  def make(record: Record) -> EvalRow:
    chosen = record.one_of("chosen_position", ("A", "B"))
    texts = [record.texts(f"eval_solution_{x}") for x in "AB"]
    ordered = texts if chosen == "A" else texts[::-1]
    return _of_problem(record, tuple(map(SEPARATOR.join, ordered)), 1)

  return reading.eval_rows(path, make, fields, columns)


def _of_problem(record: Record, texts, num_correct: int) -> EvalRow:
  """One or two solutions of a problem, which is the group."""
  problem = record.name("problem_id")
  return EvalRow(
      f"{problem}/{record.name('solution_reference')}",
      problem,
      record.name("subject") if "subject" in record.fields else "",
      record.text("problem"),
      texts,
      num_correct,
  )


def rewardmath(
    path: str | os.PathLike,
    *,
    columns: Iterable[str] = (),
    by_step: bool = False,
) -> Iterator[EvalRow]:
  """RewardMATH: a row per solution, one chosen and nine rejected a problem.

  Args:
    path: JSON lines or Parquet with problem, problem_id, eval_solution (list
      of steps), solution_type (chosen, rejected), solution_reference.
    columns: others to hand to the scorer as `meta`.
    by_step: whether to score every prefix of a solution, for models of steps,
      or the whole.

  Yields:
    Rows of one solution each; the group is the problem, `num_correct` is 1
    for the chosen one.

  Raises:
    ValueError: naming file, row and field.

  References:
    "Evaluating Robustness of Reward Models for Mathematical Reasoning".
  """
  fields = {
      "problem", "problem_id", "eval_solution", "solution_type",
      "solution_reference", "subject",
  }  # fmt: skip

  def make(record: Record) -> EvalRow:
    kind = record.one_of("solution_type", ("chosen", "rejected"))
    texts = prefixes(record.texts("eval_solution"))
    texts = texts if by_step else texts[-1:]
    return _of_problem(record, texts, int(kind == "chosen"))

  return reading.eval_rows(path, make, fields, columns)
