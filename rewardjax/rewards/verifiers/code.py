"""Verifies programs by running them on inputs whose outputs are known.

What a program prints or returns is compared *outside* its process, where the
right outputs are: it never sees them. A program that ends early, forges its
report or overwrites the machinery has only failed to give the outputs; there
is no assertion in its process that it could skip, and no exit status that
counts as a pass. What it can do is see all the inputs.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from rewardjax.core import checks
from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import parsing, sandbox, text

_FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n]*$", re.MULTILINE)


def run_python(
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[str],
    *,
    limits: sandbox.Limits = sandbox.DEFAULT_LIMITS,
    relative_tolerance: float | int = 0.0,
    readable: Sequence[str] = (),
    allow_weak_sandbox: bool = False,
) -> list[Verdict]:
  """1 where a completion's program gives the right output in every case.

  The program is the last fenced block of the completion, or the completion
  itself if `read_program` finds no fence. It runs as `sandbox` says: no
  network, no other process, no file but its own, bounded resources.

  Args:
    prompts: not read.
    completions: texts with a Python program, which may use the standard
      library, and what is below `readable`.
    references: JSON, with at least one case. For a program that reads its
      standard input, one process per case:
        `{"cases": [{"input": "1 2", "output": "3"}]}`, compared line by line
        without blanks at the end. For a function, one process for all cases:
        `{"function": "add", "cases": [{"args": [1, 2], "output": 3}]}`,
        compared as JSON values: a tuple is a list, True is not 1.
    limits: per process. Keep the pool's `timeout_s` above `limits.wall_s`
      times the number of cases.
    relative_tolerance: for floats of functions; 0 means equal.
    readable: folders that a program may read and import from, such as a
      site-packages.
    allow_weak_sandbox: of `sandbox.run`.

  Returns:
    Wrong where an output differs, the program raises, does not compile, has
    no such function, or exceeds its CPU, memory, output or disk; unparsable
    where the completion has no program; timeout where it exceeds its wall
    time, which also passes while it waits for a busy machine; crashed where
    the reference is broken, or the machine's kernel ended it for lack of
    memory.

  Raises:
    RuntimeError: if the machine has no sandbox, and a weak one is not
      allowed; or no interpreter starts.
    ValueError: if lengths differ, or a number is out of range.
  """
  text.check_lengths("run_python", prompts, completions, references)
  checks.at_least("run_python", 0.0, relative_tolerance=relative_tolerance)
  options = dict(
      limits=limits, readable=readable, allow_weak_sandbox=allow_weak_sandbox
  )
  results = []
  for said, reference in zip(completions, references):
    try:
      function, inputs, outputs = _read_reference(reference)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
      detail = f"reference {reference[:40]!r}: {type(error).__name__} {error}"
      results.append(Verdict(None, Status.CRASHED, detail))
      continue
    try:
      source = read_program(said)
    except parsing.Unreadable as error:
      results.append(Verdict(None, Status.UNPARSABLE, str(error)))
      continue
    if function is None:
      verdict = _check_script(source, inputs, outputs, options)
    else:
      verdict = _check_function(
          source, function, inputs, outputs, relative_tolerance, options
      )
    results.append(verdict)
  return results


def read_program(said: str) -> str:
  """The last fenced block of a text; the whole text if it has no fence.

  Raises:
    parsing.Unreadable: if that is blank, or the last fence is not closed.
  """
  fences = list(_FENCE.finditer(said))
  if len(fences) % 2:
    raise parsing.Unreadable("a fence that is not closed")
  if fences:
    said = said[fences[-2].end() : fences[-1].start()]
  if not said.strip():
    raise parsing.Unreadable("no program")
  return said


def _read_reference(
    reference: str,
) -> tuple[str | None, list[Any], list[Any]]:
  row = json.loads(reference)
  cases, function = row["cases"], row.get("function")
  if not cases:
    raise ValueError("no case")
  name = "input" if function is None else "args"
  inputs = [case[name] for case in cases]
  outputs = [case["output"] for case in cases]
  kind = list if function is not None else str
  if not all(isinstance(x, kind) for x in inputs):
    raise ValueError(f"each {name!r} must be a {kind.__name__}")
  if function is None and not all(isinstance(x, str) for x in outputs):
    raise ValueError("each 'output' must be a str")
  return function, inputs, outputs


def _failure(outcome: sandbox.Outcome) -> Verdict | None:
  """The verdict on a program that did not end well; None if it did."""
  wrong = lambda detail: Verdict(0.0, Status.WRONG, detail)
  if outcome.exceeded == "wall_s":
    return Verdict(None, Status.TIMEOUT, "exceeded wall_s")
  if outcome.exceeded:
    return wrong(f"exceeded {outcome.exceeded}")
  # Nobody inside the sandbox can send this signal.
  if outcome.status == -9:
    return Verdict(None, Status.CRASHED, "killed: no memory on the machine?")
  if outcome.status:
    return wrong(f"exit status {outcome.status}")
  return None


def _check_script(
    source: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    options: dict[str, Any],
) -> Verdict:
  lines = lambda x: [line.rstrip() for line in x.rstrip().splitlines()]
  for i, (given, expected) in enumerate(zip(inputs, outputs)):
    outcome = sandbox.run(source, stdin=given, **options)
    failure = _failure(outcome)
    if failure is not None:
      return failure._replace(detail=f"case {i}: {failure.detail}")
    if lines(outcome.output.decode("utf-8", "replace")) != lines(expected):
      return Verdict(0.0, Status.WRONG, f"case {i}: another output")
  return text.binary(True)


def _check_function(
    source: str,
    function: str,
    inputs: Sequence[list[Any]],
    outputs: Sequence[Any],
    relative_tolerance: float | int,
    options: dict[str, Any],
) -> Verdict:
  outcome = sandbox.run(
      source, function=function, arguments=inputs, **options
  )
  failure = _failure(outcome)
  lines = outcome.output.split(b"\n")[:-1]  # each ends with a line break
  for i, expected in enumerate(outputs):
    # What came before the failure is right; the failure says why no more did.
    if i >= len(lines):
      failure = failure or Verdict(0.0, Status.WRONG, "it ended")
      return failure._replace(detail=f"case {i}: {failure.detail}")
    try:
      found = json.loads(lines[i])
    except (ValueError, RecursionError):
      return Verdict(0.0, Status.WRONG, f"case {i}: no JSON")
    if not isinstance(found, dict) or "value" not in found:
      why = found.get("error") if isinstance(found, dict) else "no value"
      return Verdict(0.0, Status.WRONG, f"case {i}: {why!s:.200}")
    if not _equal(found["value"], expected, relative_tolerance):
      return Verdict(0.0, Status.WRONG, f"case {i}: another value")
  return failure or text.binary(True)


def _equal(found: Any, expected: Any, tolerance: float | int) -> bool:
  """Equality of JSON values; numbers by value, but True is not 1."""
  is_number = lambda x: isinstance(x, int | float) and not isinstance(x, bool)
  if is_number(found) and is_number(expected):
    if tolerance and isinstance(expected, float) and abs(found) < 1e308:
      return math.isclose(found, expected, rel_tol=tolerance)
    return found == expected
  if type(found) is not type(expected):
    return False
  if isinstance(found, list):
    return len(found) == len(expected) and all(
        _equal(x, y, tolerance) for x, y in zip(found, expected)
    )
  if isinstance(found, dict):
    return found.keys() == expected.keys() and all(
        _equal(x, expected[key], tolerance) for key, x in found.items()
    )
  return found == expected
