"""Verdicts of an audit: read from a column, or asked of a verifier."""

import functools
from typing import NamedTuple

import numpy as np

from configs.rlvr import base
from experiments import verifying
from experiments.audit_options import Options
from experiments.audit_rows import Answers
from rewardjax.rewards.verifiers import pool, reasoning_gym
from rewardjax.types import Status


class Verdicts(NamedTuple):
  """What one side says of every row."""

  labels: np.ndarray  # 1 right, 0 wrong, NaN unknown
  counts: dict[str, int]  # rows of each status
  source: str  # in words


# Beside those of experiments.rlvr: it reads a row's metadata.
_VERIFIERS = {"reasoning_gym": lambda o: reasoning_gym.score}


def verifiers() -> dict:
  """Verifiers that can be named: functions from options to a verifier."""
  # The two wrap a function that a config names; "tokens" reads no text.
  others = {"tokens", "trl", "tunix"}
  found = _VERIFIERS | verifying.VERIFIERS
  return {name: make for name, make in found.items() if name not in others}


def is_verifier(name: str) -> bool:
  """Whether it names a verifier, and not a column."""
  return name in verifiers() or ":" in name


def make(name: str):
  """The verifier of that name.

  Raises:
    ValueError: if it cannot be imported.
  """
  if name in verifiers():
    return verifiers()[name](base.get_config().verifier)
  try:
    return verifying.user_function(name)
  except ValueError as error:
    # This command has no such field.
    field = "config.verifier.function"
    raise ValueError(str(error).replace(field, "a verifier")) from error


def judge(
    name: str,
    answers: Answers,
    options: Options,
    *,
    reference_field: str,
    unparsable: str,
    progress: bool = True,
) -> Verdicts:
  """Verdicts of a verifier, or of the column with that name.

  A verifier runs in workers with a time-out. What hangs, crashes or cannot
  be read is unknown and counted, never wrong; only for `unparsable` the
  caller may say otherwise.

  Raises:
    ValueError: naming line and column, where something is missing.
  """
  if not is_verifier(name):
    return _read(name, answers)
  verifier = make(name)
  columns = [
      answers.texts(field)
      for field in (
          options.prompt_field,
          options.completion_field,
          reference_field,
      )
  ]
  with pool.VerifierPool(
      verifier,
      timeout_s=options.timeout_s,
      num_workers=options.num_workers,
      chunk_size=options.chunk_size,
      correct_above=options.correct_above,
      memory_mb=options.memory_mb or None,
      jailed=options.jailed,
  ) as workers:
    found = _in_parts(workers, columns, name, options, progress)
  score = {Status.CORRECT: 1.0, Status.WRONG: 0.0}
  if unparsable == "wrong":
    score[Status.UNPARSABLE] = 0.0
  labels = np.array([score.get(x.status, np.nan) for x in found])
  statuses = [x.status for x in found]
  counts = {x.name.lower(): statuses.count(x) for x in Status}
  return Verdicts(labels, counts, f"the verifier {name}")


def _read(field: str, answers: Answers) -> Verdicts:
  if not any(field in record for record in answers.records):
    raise ValueError(
        f"{answers.places[0]}: column {field!r} is missing, and no verifier "
        f"has that name: give a column, package.module:function or one of "
        f"{', '.join(verifiers())}."
    )
  labels = answers.labels(field)
  counts = {
      "correct": int(np.sum(labels == 1)),
      "wrong": int(np.sum(labels == 0)),
      "missing": int(np.sum(np.isnan(labels))),
  }
  return Verdicts(labels, counts, f"the column {field!r}")


def _in_parts(workers, columns, name, options, progress) -> list:
  """All verdicts, with a bar that moves."""
  import tqdm

  size, found = 4 * options.num_workers * options.chunk_size, []
  bar = functools.partial(tqdm.tqdm, unit="answer", disable=not progress)
  with bar(desc=name, total=len(columns[0])) as shown:
    for start in range(0, len(columns[0]), size):
      part = [column[start : start + size] for column in columns]
      found += workers(*part)
      shown.update(len(part[0]))
  return found
