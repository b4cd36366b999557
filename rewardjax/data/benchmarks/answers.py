"""Benchmarks of many sampled answers to each question: which one to take?"""

import math
import numbers
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from rewardjax.data.benchmarks import reading
from rewardjax.data.benchmarks.lists import SEPARATOR, prefixes
from rewardjax.data.benchmarks.reading import Record
from rewardjax.types import EvalRow

UNPARSED = "n/a"  # the one answer of all chains without one
_NO_ANSWER = ("", UNPARSED)
_SHARD = re.compile(r"-\d+-of-\d+$")
_FIELDS = (
    "q_id", "question", "answer", "cot_ids", "cots", "parsed_answers",
    "category",
)  # fmt: skip


class Question(NamedTuple):
  """A question and the chains of steps that were sampled for it.

  name: `q_id`. domain: `category`, or else the name of the file. gold: the
  right answer. ids, chains, answers: one of each sample; answers are compared
  without case, and those that could not be read are `UNPARSED`.
  """

  name: str
  domain: str
  prompt: str
  gold: str
  ids: tuple[str, ...]
  chains: tuple[tuple[str, ...], ...]
  answers: tuple[str, ...]


def questions(path: str | os.PathLike) -> Iterator[Question]:
  """Multi-RM: q_id, question, answer, cot_ids, cots, parsed_answers.

  Args:
    path: a JSON list, JSON lines or Parquet. Published is one file for each
      of 14 domains, "law.json" or "law-00000-of-00001.parquet".

  Raises:
    ValueError: naming file, row and field.

  References:
    "Rethinking Reward Models for Multi-Domain Test-Time Scaling".
  """
  for record in reading.records(path, _FIELDS):
    yield _question(record, path)


def multi_rm(
    path: str | os.PathLike,
    *,
    columns: Iterable[str] = (),
    by_step: bool = False,
) -> Iterator[EvalRow]:
  """The chains of `questions`, to be scored.

  Args:
    path: as there.
    columns: others to hand to the scorer as `meta`.
    by_step: whether to score every prefix of a chain, for models of steps, or
      the whole.

  Yields:
    A row for each question; its texts are those of all chains, in their
    order. Right ones may stand anywhere: `num_correct` is 0.

  Raises:
    ValueError: naming file, row and field.

  References:
    As `questions`.
  """

  def make(record: Record) -> EvalRow:
    row = _question(record, path)
    read = prefixes if by_step else lambda x: (SEPARATOR.join(x),)
    texts = tuple(text for chain in row.chains for text in read(chain))
    name = f"{row.domain}/{row.name}"
    return EvalRow(name, "", row.domain, row.prompt, texts, 0)

  return reading.eval_rows(path, make, _FIELDS, columns)


def _question(record: Record, path) -> Question:
  of_chain = {
      "cot_ids": record.value("cot_ids", _names, "a list of names"),
      "cots": record.value("cots", _chains, "a list of lists of strings"),
      "parsed_answers": record.value(
          "parsed_answers", _answers, "a list of strings, numbers or nulls"
      ),
  }
  _check_lengths(record, of_chain)
  ids, chains, answers = of_chain.values()
  if len(set(ids)) < len(ids):
    raise ValueError(f"{record.place}: field 'cot_ids' names one twice.")
  gold = record.value("answer", _answer, "a string or a number")
  if gold == UNPARSED:
    raise ValueError(f"{record.place}: field 'answer' is empty.")
  return Question(
      record.name("q_id"), _domain(record, path), record.text("question"),
      gold, ids, chains, answers,
  )  # fmt: skip


def multi_rm_rewards(
    path: str | os.PathLike,
) -> Iterator[tuple[str, dict[str, tuple[float, ...]]]]:
  """Rewards that are there already: q_id, cot_ids, rewards (a list a chain).

  Yields:
    A question's name and the rewards of its chains by their ids. One that is
    missing is NaN, whether null or NaN stands there.

  Raises:
    ValueError: naming file, row and field, where a q_id comes twice too.

  References:
    As `questions`.
  """
  known = set()
  fields = ("q_id", "cot_ids", "rewards")
  for record in reading.records(path, fields, nan=True):
    name = record.name("q_id")
    if name in known:
      raise ValueError(f"{record.place}: field 'q_id' {name!r} comes twice.")
    known.add(name)
    of_chain = {
        "cot_ids": record.value("cot_ids", _names, "a list of names"),
        "rewards": record.value(
            "rewards", _rewards, "a list of lists of numbers or nulls"
        ),
    }
    _check_lengths(record, of_chain)
    yield name, dict(zip(*of_chain.values()))


def multi_rm_steps(path: str | os.PathLike) -> Iterator[Record]:
  """The rows to train on: question, cot, labels (1, -1), and both answers.

  Args:
    path: of rows of q_id, cot_id, question, cot (steps), labels, answer,
      parsed_answer, in the formats of `questions`.

  Yields:
    prompt, steps, labels (1 right, 0 wrong), source (the domain) and, where
    both answers are known, correct. Rows without labels are left out.

  Raises:
    ValueError: naming file, row and field.

  References:
    As `questions`.
  """
  for record in reading.records(path):
    if not record.some("labels").get("labels"):
      continue
    of_step = {
        "cot": record.texts("cot"),
        "labels": record.value("labels", _labels, "a list of 1 and -1"),
    }
    _check_lengths(record, of_step)
    steps, labels = of_step.values()
    fields = {
        "prompt": record.text("question"),
        "steps": list(steps),
        "labels": list(labels),
        "source": _domain(record, path),
    }
    said = [
        record.value(name, _answer, "a string, a number or null")
        for name in record.some("answer", "parsed_answer")
    ]
    if len(said) == 2 and UNPARSED not in said:
      fields["correct"] = said[0] == said[1]
    yield Record(record.place, fields)


def _domain(record: Record, path) -> str:
  if record.some("category"):
    return record.name("category")
  return _SHARD.sub("", pathlib.Path(path).stem)


def _check_lengths(record: Record, lists: dict[str, Sequence]) -> None:
  (first, expected), *others = lists.items()
  for name, found in others:
    if len(found) != len(expected):
      raise ValueError(
          f"{record.place}: field {name!r} has {len(found)} entries for "
          f"{len(expected)} of {first!r}."
      )


def _listed(x: Any) -> list:
  if not isinstance(x, list) or not x:
    raise TypeError
  return x


def _names(x) -> tuple[str, ...]:
  return tuple(map(reading.as_name, _listed(x)))


def _chains(x) -> tuple[tuple[str, ...], ...]:
  return tuple(map(reading.as_texts, _listed(x)))


def _answers(x) -> tuple[str, ...]:
  return tuple(map(_answer, _listed(x)))


def _answer(x) -> str:
  """As answers are compared."""
  if x is not None and not isinstance(x, str | int | float):
    raise TypeError
  text = "" if x is None or x != x else str(x).strip().lower()
  return UNPARSED if text in _NO_ANSWER else text


def _rewards(x) -> tuple[tuple[float, ...], ...]:
  return tuple(tuple(map(_reward, chain or ())) for chain in _listed(x))


def _reward(x) -> float:
  if x is None:
    return math.nan
  if isinstance(x, bool) or not isinstance(x, numbers.Real) or math.isinf(x):
    raise TypeError
  return float(x)


def _labels(x) -> tuple[int, ...]:
  if any(isinstance(v, bool) or v not in (1, -1) for v in _listed(x)):
    raise ValueError
  return tuple(int(v == 1) for v in x)
