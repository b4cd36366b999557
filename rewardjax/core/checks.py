"""Checks on what a caller passed; every message names function and argument.

They raise ValueError while tracing, from shapes, dtypes and Python numbers.
Traced values pass: what depends on data is a metric, not an exception.
"""

import math
import numbers
from collections.abc import Iterable

import numpy as np


def same_shape(where: str, /, **arrays) -> None:
  """Raises ValueError, naming every argument, unless all shapes agree.

  Arguments that are None are skipped.
  """
  shapes = {k: np.shape(x) for k, x in arrays.items() if x is not None}
  if len(set(shapes.values())) > 1:
    raise ValueError(f"{where}: expected one common shape, got {shapes}.")


def broadcasts_to(
    where: str, shape: tuple[int, ...], /, **arrays
) -> None:
  """Raises ValueError unless each argument broadcasts to exactly `shape`."""
  for name, x in arrays.items():
    try:
      fits = np.broadcast_shapes(np.shape(x), shape) == tuple(shape)
    except ValueError:
      fits = False
    if not fits:
      raise ValueError(
          f"{where}: {name} must broadcast to {tuple(shape)}, got shape "
          f"{np.shape(x)}."
      )


def within(
    where: str,
    # Not `low` and `high`: arguments of those names are to be checked, and
    # type checkers that bind signatures trip over them in spite of the `/`.
    _low: float | int = -math.inf,
    _high: float | int = math.inf,
    /,
    *,
    low_open: bool = False,
    high_open: bool = False,
    **values,
) -> None:
  """Raises ValueError unless each Python number lies between the bounds."""
  for name, value in values.items():
    if not isinstance(value, numbers.Real):
      continue
    above = value > _low if low_open else value >= _low
    below = value < _high if high_open else value <= _high
    if not (above and below):  # written so that NaN fails
      left, right = "(" if low_open else "[", ")" if high_open else "]"
      raise ValueError(
          f"{where}: {name} must be in {left}{_low:g}, {_high:g}{right}, got "
          f"{value!r}."
      )


def probability(where: str, /, **values) -> None:
  """Raises ValueError unless each Python number is in [0, 1]."""
  within(where, 0.0, 1.0, **values)


def one_of(where: str, choices: Iterable[str], /, **values) -> None:
  """Raises ValueError, listing the choices, unless each value is one."""
  choices = list(choices)
  for name, value in values.items():
    if value not in choices:
      raise ValueError(
          f"{where}: {name} must be one of {', '.join(choices)}; got {value!r}."
      )


def at_least(where: str, minimum: float | int, /, **values) -> None:
  """Raises ValueError unless each Python number is at least `minimum`."""
  within(where, minimum, **values)
