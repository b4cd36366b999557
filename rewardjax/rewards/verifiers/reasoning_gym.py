"""The scorers that the data sets of reasoning-gym bring along."""

import math
import numbers
from collections.abc import Sequence
from typing import Any

from rewardjax.core import checks, exact_json
from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import answers, parsing, text, worker


def score(
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[str],
    *,
    partial_credit: bool = False,
    correct_from: float | int = 1.0,
    places: Sequence[answers.Place] = ("tag", "boxed", "marker", "last_line"),
) -> list[Verdict]:
  """The score that a data set's own rule gives to the final answer.

  Scorers of reasoning-gym give parts of a point, each by its own rule: most
  count how much of the answer is the reference (`112` gets 0.67 where `12` is
  right), some give 0.01 to anything. So what counts is said here.

  Some scorers call `eval` on the answer: run this in a `VerifierPool` with
  `jailed=True`, `timeout_s` and `memory_mb`.

  Args:
    prompts: not read.
    completions: the final answer is found by `answers.extract`.
    references: the column "metadata" of
      `data.builders.reasoning_gym.ReasoningGym`.
    partial_credit: True gives the scorer's score; False gives 1 to correct
      answers and 0 to all others.
    correct_from: the least score with the status "correct".
    places: of `answers.extract`; ("whole",) gives the scorer all that was
      said. Answers of several lines need a tag.

  Returns:
    Unparsable where no final answer is found; crashed where a scorer raises
    or returns no finite number, or a reference is broken.

  Raises:
    ImportError: if reasoning-gym is not installed.
    ValueError: if lengths differ, or `correct_from` is not in (0, 1].
  """
  from reasoning_gym import factory

  text.check_lengths("score", prompts, completions, references)
  checks.within("score", 0.0, 1.0, low_open=True, correct_from=correct_from)
  results = []
  for said, reference in zip(completions, references):
    try:
      row = exact_json.loads(reference)
      scorer = factory.create_dataset(
          row["source"], **row["parameters"], seed=0, size=1
      )
    except Exception as error:
      detail = f"reference: {worker.describe(error)}"
      results.append(Verdict(None, Status.CRASHED, detail))
      continue
    try:
      answer = answers.extract(said, places=places)
    except parsing.Unreadable as error:
      results.append(Verdict(None, Status.UNPARSABLE, str(error)))
      continue
    try:
      points = scorer.score_answer(answer, row["entry"])
    except (Exception, SystemExit) as error:  # of an answer `exit()`
      detail = worker.describe(error)
      results.append(Verdict(None, Status.CRASHED, detail))
      continue
    results.append(_verdict(points, partial_credit, correct_from))
  return results


def _verdict(
    points: Any, partial_credit: bool, correct_from: float | int
) -> Verdict:
  if not isinstance(points, numbers.Real) or not math.isfinite(points):
    return Verdict(None, Status.CRASHED, f"scored {points!r:.40}")
  correct = points >= correct_from
  return Verdict(
      float(points) if partial_credit else float(correct),
      Status.CORRECT if correct else Status.WRONG,
      f"scored {float(points):g}",
  )
