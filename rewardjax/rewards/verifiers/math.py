"""The verifier of the package math-verify, with typed verdicts."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import text, worker


def math_verify(
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[str],
) -> list[Verdict]:
  r"""1 where math-verify finds a completion equivalent to its reference.

  It is a noisy verifier: it reads formulas in many spellings, and among
  others takes `50` for `50%`, and `5 m` for `5 cm`. `text.numeric` and
  `answers.strict` err in other ways; `ensembles` combines them.

  Run it in a `VerifierPool` with `timeout_s`, `memory_mb` and `jailed`:
  formulas such as `9^{9^{9^9}}` do not end, its own time-outs are signals,
  which stop no long computation in C and work in no thread (they are turned
  off here), and it evaluates what it reads with sympy's `parse_expr`.

  Args:
    prompts: not read.
    completions: texts whose last formula or number counts.
    references: answers; one without `$` or `\boxed{}` is read as LaTeX
      first, then as plain text.

  Returns:
    Unparsable where math-verify finds no answer in a completion, or fails to
    read it; crashed where it finds none in the reference, or fails to
    compare the two (by itself it would call that wrong).

  Raises:
    ImportError: if math-verify is not installed.
    ValueError: if lengths differ.

  References:
    Kydlíček, "Math-Verify: Math Verification Library", 2025 (math-verify).
  """
  import math_verify as package

  text.check_lengths("math_verify", prompts, completions, references)
  parse = lambda x: package.parse(x, parsing_timeout=None, raise_on_error=True)
  compare = lambda gold, found: package.verify(
      gold, found, timeout_seconds=None, raise_on_error=True
  )
  with _silence():
    return [
        _judge(parse, compare, *pair) for pair in zip(completions, references)
    ]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
  """It warns in every process that its time-outs are off."""
  logger = logging.getLogger("math_verify")
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    yield
  finally:
    logger.setLevel(level)


def _judge(
    parse: Callable[[str], list[Any]],
    compare: Callable[[list[Any], list[Any]], bool],
    said: str,
    right: str,
) -> Verdict:
  try:
    gold = _read_reference(parse, right)
  except Exception as error:
    return Verdict(None, Status.CRASHED, f"reference: {worker.describe(error)}")
  if not gold:
    return Verdict(None, Status.CRASHED, f"reference {right[:40]!r}: no answer")
  try:
    found = parse(said)
  except MemoryError as error:
    return Verdict(None, Status.CRASHED, worker.describe(error))
  except Exception as error:
    return Verdict(None, Status.UNPARSABLE, worker.describe(error))
  if not found:
    return Verdict(None, Status.UNPARSABLE, "no answer")
  try:
    return text.binary(bool(compare(gold, found)))
  except Exception as error:
    return Verdict(None, Status.CRASHED, worker.describe(error))


def _read_reference(parse: Callable[[str], list[Any]], right: str) -> list[Any]:
  if not right.strip():
    return []
  if "$" in right or "\\boxed" in right:
    return parse(right)
  return parse(f"${right}$") or parse(right)
