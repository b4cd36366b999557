"""Reads the answers of an audit; every error names file, line and column."""

import json
import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments.audit_options import Options
from rewardjax.data import jsonl


class Answers(NamedTuple):
  """Rows as they were read, each with its place, "file:line"."""

  places: list[str]
  records: list[dict[str, Any]]
  duplicates: int  # rows that repeat an earlier one throughout

  def column(
      self, field: str, parse: Callable[[Any], Any], meaning: str
  ) -> list[Any]:
    """The parsed column.

    Raises:
      ValueError: naming line and column, where a row has no such column or
        `parse` finds that its value is not `meaning`.
    """
    values = []
    for place, record in zip(self.places, self.records):
      if field not in record:
        raise ValueError(f"{place}: column {field!r} is missing.")
      try:
        values.append(parse(record[field]))
      except (ValueError, TypeError) as error:
        raise ValueError(
            f"{place}: column {field!r} must be {meaning}, got "
            f"{record[field]!r:.80}."
        ) from error
    return values

  def texts(self, field: str) -> list[str]:
    """A column of text; what is no string is read as its JSON."""
    return self.column(field, text, "text")

  def labels(self, field: str) -> np.ndarray:
    """A column of truth values: 0, 1, or NaN where it holds null."""
    meaning = "true, false, 1, 0 or null"
    return np.array(self.column(field, label, meaning), float)

  def identities(self, field: str) -> np.ndarray:
    """One integer per different value; zeros for no field."""
    if not field:
      return np.zeros(len(self.records), int)
    _, places = np.unique(self.texts(field), return_inverse=True)
    return places

  def weights(self, options: Options) -> np.ndarray | None:
    """1 / (chance of having been checked); None if no column says."""
    if options.probability_field:
      meaning = "a chance in (0, 1]"
      chances = self.column(options.probability_field, _chance, meaning)
      return 1 / np.array(chances)
    if options.weight_field:
      meaning = "a positive number"
      return np.array(self.column(options.weight_field, _positive, meaning))
    return None


def read(options: Options) -> Answers:
  """All rows of the file.

  Raises:
    ValueError: if the file is empty, or a line is no JSON object.
    OSError: if there is no such file.
  """
  places, rows, seen, duplicates = [], [], set(), 0
  for place, record in jsonl.records(options.answers):
    key = json.dumps(record, sort_keys=True)
    duplicates += key in seen
    if not (options.drop_duplicates and key in seen):
      places.append(place)
      rows.append(record)
    seen.add(key)
  if not rows:
    raise ValueError(f"{options.answers}: no row.")
  return Answers(places, rows, duplicates)


def text(value: Any) -> str:
  """A string as it is, anything but null as JSON."""
  if value is None:
    raise TypeError
  return value if isinstance(value, str) else json.dumps(value)


def label(value: Any) -> float:
  """0, 1 or NaN."""
  if value is None:
    return math.nan
  if not isinstance(value, numbers.Real) or value not in (0, 1):
    raise ValueError
  return float(value)


def number(value: Any) -> float:
  """A finite number."""
  if isinstance(value, bool) or not math.isfinite(value):
    raise ValueError
  return float(value)


def _positive(value: Any) -> float:
  if number(value) <= 0:
    raise ValueError
  return float(value)


def _chance(value: Any) -> float:
  if _positive(value) > 1:
    raise ValueError
  return float(value)


def group_ids(names: list[str]) -> tuple[np.ndarray, list[str]]:
  """Ids in the order in which groups first appear, and their names."""
  order = list(dict.fromkeys(names))
  place = {name: i for i, name in enumerate(order)}
  return np.array([place[name] for name in names]), order


def bins(values: list[float], *, count: int = 4) -> np.ndarray:
  """Ids of `count` stretches of about equally many rows; ties stay together."""
  edges = np.quantile(values, np.arange(1, count) / count)
  return np.searchsorted(np.unique(edges), values, side="left")
