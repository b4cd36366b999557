"""From what a function returned to verdicts; on the host, without JAX."""

import math
import numbers
from typing import Any

from rewardjax.outcomes import Status, Verdict


def from_scores(
    scores: Any, *, count: int, correct_above: float | int = 0.0
) -> list[Verdict]:
  """Verdicts from what a reward function returned, whatever that is.

  What is not a finite number is a crash of that item, and what does not
  hold `count` items a crash of all: never a 0, which would teach the policy
  that its answer was wrong.

  Args:
    scores: numbers in reward units, or verdicts, which pass if their score
      is finite or their status says that there is none.
    count: how many there must be.
    correct_above: a higher score has the status "correct".
  """
  if isinstance(scores, str | bytes | dict):
    crash = f"returned {type(scores).__name__}, not a list"
    return [_crashed(crash)] * count
  try:
    scores = list(scores)
  except Exception:  # an array of rank 0, None, a lazy object that fails
    crash = f"returned {type(scores).__name__}, not a list"
    return [_crashed(crash)] * count
  if len(scores) != count:
    crash = f"returned {len(scores)} results for {count} completions"
    return [_crashed(crash)] * count
  return [_verdict(score, correct_above) for score in scores]


def _crashed(detail: str) -> Verdict:
  return Verdict(None, Status.CRASHED, detail)


def _verdict(score: Any, correct_above: float | int) -> Verdict:
  if isinstance(score, Verdict):
    known = score.status in (Status.CORRECT, Status.WRONG)
    if known and not is_finite(score.score):
      return _crashed(f"{score.status.name.lower()} with {score.score!r:.40}")
    return score
  if getattr(score, "ndim", None) == 0:  # a scalar of NumPy, JAX or torch
    score = score.item()
  if not is_finite(score):
    return _crashed(f"returned {score!r:.40}")
  status = Status.CORRECT if score > correct_above else Status.WRONG
  return Verdict(float(score), status)


def is_finite(score: Any) -> bool:
  """Whether it is a number that a reward may be."""
  try:
    return isinstance(score, numbers.Real) and math.isfinite(score)
  except OverflowError:  # an integer beyond the floats
    return False
