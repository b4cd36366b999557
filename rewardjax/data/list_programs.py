"""A small language of pipelines on integer lists: "keep even | square | sum".

Each word pipe turns a list into a list, or at the end into a number. There
are no loops and no names: a program ends after its last word, whatever is in
it, so it needs no sandbox.
"""

from collections.abc import Callable

_MAX_STEPS = 32
_MAX_SIZE = 1000
_MAX_MAGNITUDE = 10**12


class ProgramError(ValueError):
  """The program is no program, or does not fit its input."""


def _unique(values: list[int]) -> list[int]:
  return list(dict.fromkeys(values))


_LISTS: dict[str, Callable[[list[int]], list[int]]] = {
    "ascending": sorted,
    "descending": lambda x: sorted(x, reverse=True),
    "reverse": lambda x: x[::-1],
    "unique": _unique,
    "double": lambda x: [2 * v for v in x],
    "square": lambda x: [v * v for v in x],
    "negate": lambda x: [-v for v in x],
    "keep even": lambda x: [v for v in x if v % 2 == 0],
    "keep odd": lambda x: [v for v in x if v % 2],
    "keep positive": lambda x: [v for v in x if v > 0],
    "keep negative": lambda x: [v for v in x if v < 0],
}
_NUMBERS: dict[str, Callable[[list[int]], int]] = {
    "max": lambda x: max(x),
    "min": lambda x: min(x),
    "first": lambda x: x[0],
    "last": lambda x: x[-1],
    "sum": sum,
    "count": len,
}
# With a number: "head 2".
_SIZED: dict[str, Callable[[list[int], int], list[int]]] = {
    "head": lambda x, n: x[:n],
    "tail": lambda x, n: x[len(x) - min(n, len(x)) :],
    "add": lambda x, n: [v + n for v in x],
}


def run(program: str, values: list[int]) -> list[int] | int:
  """What the program makes of a list.

  Raises:
    ProgramError: for an unknown step, a step after a number, more than 32
      steps, an empty list where an element is asked for, or numbers beyond
      10^12.
  """
  steps = [" ".join(step.split()) for step in program.split("|")]
  if len(steps) > _MAX_STEPS:
    raise ProgramError(f"{len(steps)} steps, at most {_MAX_STEPS}.")
  if len(values) > _MAX_SIZE:
    raise ProgramError(f"{len(values)} values, at most {_MAX_SIZE}.")
  result: list[int] | int = list(values)
  for step in steps:
    if isinstance(result, int):
      raise ProgramError(f"step {step!r} follows a number.")
    result = _apply(step, result)
    numbers = [result] if isinstance(result, int) else result
    if any(abs(v) > _MAX_MAGNITUDE for v in numbers):
      raise ProgramError(f"step {step!r} leaves the range of numbers.")
  return result


def _apply(step: str, values: list[int]) -> list[int] | int:
  if step in _LISTS:
    return _LISTS[step](values)
  if step in _NUMBERS:
    try:
      return _NUMBERS[step](values)
    except (IndexError, ValueError):
      raise ProgramError(f"step {step!r} on an empty list.") from None
  name, _, size = step.partition(" ")
  digits = size.removeprefix("-")
  if name in _SIZED and digits.isascii() and digits.isdigit():
    if len(digits) > 6:
      raise ProgramError(f"number in {step[:20]!r} is too long.")
    number = int(size)
    if number < 0 and name != "add":
      raise ProgramError(f"step {step!r} needs a number of 0 or more.")
    return _SIZED[name](values, number)
  raise ProgramError(f"unknown step {step[:40]!r}.")


def passes(
    program: str, tests: list[tuple[list[int], list[int] | int]]
) -> bool:
  """Whether it gives every expected output; a program that fails does not."""
  try:
    return all(run(program, given) == wanted for given, wanted in tests)
  except ProgramError:
    return False
