"""Verifiers on text: `(prompts, completions, references) -> list[Verdict]`.

The optional arguments of each are keyword-only: `functools.partial` makes a
verifier with other ones.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from rewardjax.core import checks
from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import parsing

Verifier = Callable[
    [Sequence[str], Sequence[str], Sequence[str]], list[Verdict]
]


def exact_match(
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[str],
    *,
    ignore_blanks: bool = True,
) -> list[Verdict]:
  """1 where the completion is the reference, character by character.

  Nothing is unparsable here.

  Args:
    prompts: not read.
    completions: one per prompt.
    references: the right answers.
    ignore_blanks: blanks around a text do not count, and a run of them
      counts as one.
  """
  check_lengths("exact_match", prompts, completions, references)
  clean = (
      (lambda text: re.sub(r"\s+", " ", text).strip()) if ignore_blanks else str
  )
  return [
      binary(clean(said) == clean(right))
      for said, right in zip(completions, references)
  ]


def numeric(
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[str],
    *,
    absolute_tolerance: float | int = 0.0,
    relative_tolerance: float | int = 0.0,
    units: bool = True,
) -> list[Verdict]:
  """1 where the number that a completion gives equals the reference's.

  Exact fractions are compared: 1/2 is 0.5, 1,000 is 1000 and -0 is 0, while
  50 is not 50%. `parsing` says what is read and what is refused as unclear;
  nothing is ever evaluated.

  Args:
    prompts: not read.
    completions: the last number of each counts, or the one in its last
      `\\boxed{}` or after its last `####`.
    references: texts with exactly one number, and perhaps its unit.
    absolute_tolerance: largest distance that still counts as equal, in the
      units of the answer.
    relative_tolerance: likewise, as a share of the reference's magnitude.
    units: the completion must show the unit or currency of the reference.

  Returns:
    Unparsable where a completion gives no clear number; crashed where a
    *reference* does not, since then nobody knows the answer.

  Raises:
    ValueError: if lengths differ or a tolerance is negative.
  """
  checks.within(
      "numeric",
      0.0,
      high_open=True,
      absolute_tolerance=absolute_tolerance,
      relative_tolerance=relative_tolerance,
  )
  absolute, relative = map(Fraction, (absolute_tolerance, relative_tolerance))

  def compare(said: parsing.Number, right: parsing.Number) -> Verdict:
    if units and not parsing.agrees_with_unit(said, right):
      return Verdict(0.0, Status.WRONG, "another unit")
    bound = max(absolute, relative * abs(right.value))
    return binary(abs(said.value - right.value) <= bound)

  check_lengths("numeric", prompts, completions, references)
  return [_compare_numbers(*x, compare) for x in zip(completions, references)]


def continuous_reward(
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[str],
    *,
    epsilon: float | int = 1e-12,
) -> list[Verdict]:
  """Partial credit for a number near the reference: see `closeness`.

  Args:
    prompts: not read.
    completions: read as by `numeric`.
    references: texts with exactly one number.
    epsilon: of `closeness`.

  Returns:
    Scores in [0, 1], "correct" only where the numbers are equal. Unparsable
    and crashed as for `numeric`.

  References:
    Wu et al., "Reasoning or Memorization?", 2025, arXiv:2507.10532.
  """

  def compare(said: parsing.Number, right: parsing.Number) -> Verdict:
    score = closeness(said.value, right.value, epsilon=epsilon)
    equal = said.value == right.value
    return Verdict(score, Status.CORRECT if equal else Status.WRONG)

  check_lengths("continuous_reward", prompts, completions, references)
  return [_compare_numbers(*x, compare) for x in zip(completions, references)]


def closeness(
    answer: Fraction | int,
    truth: Fraction | int,
    *,
    epsilon: float | int = 1e-12,
) -> float:
  """1 - min(1, |a - b|) / 2 - min(1, |a - b| / (|b| + epsilon)) / 2.

  Half for being close in absolute terms, half in relative ones. A wrong sign
  costs at least the relative half; `epsilon` must be far below any |b|, or
  an answer of 0 would get it.
  """
  checks.within("closeness", 0.0, low_open=True, epsilon=epsilon)
  gap = abs(Fraction(answer) - Fraction(truth))
  relative = gap / (abs(Fraction(truth)) + Fraction(epsilon))
  return float(1 - min(Fraction(1), gap) / 2 - min(Fraction(1), relative) / 2)


def _compare_numbers(said: str, right: str, compare) -> Verdict:
  try:
    right_number = parsing.read_single(right)
  except parsing.Unreadable as error:
    return Verdict(None, Status.CRASHED, f"reference {right[:40]!r}: {error}")
  try:
    said_number = parsing.read_answer(said)
  except parsing.Unreadable as error:
    return Verdict(None, Status.UNPARSABLE, str(error))
  return compare(said_number, right_number)


def binary(correct: bool) -> Verdict:
  """The verdict of a rule that knows only right and wrong."""
  return Verdict(float(correct), Status.CORRECT if correct else Status.WRONG)


def check_lengths(where: str, prompts, completions, references) -> None:
  """Raises ValueError unless there are as many of each."""
  lengths = {
      "prompts": len(prompts),
      "completions": len(completions),
      "references": len(references),
  }
  if len(set(lengths.values())) > 1:
    raise ValueError(f"{where}: expected one common length, got {lengths}.")
