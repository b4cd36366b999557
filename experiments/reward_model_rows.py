"""What a reward model learns from: rows of judgements, checked one by one.

Fields by kind:

    pairs     prompt, chosen, rejected
    ties      prompt, chosen, rejected, label: 1 as named, 0 tie, -1 reversed
    ratings   prompt, completion, rating: a number
    rankings  prompt, completions, ranks: smaller is better, equal ones tie
    steps     prompt, steps, labels: 1 right, 0 wrong, between: a probability

Any row may also have `weight` (at least 0), and the names `source`,
`annotator` and `user`; pairs and ties `strength` (at least 0: by how much),
`gold` (is chosen better, 1, or not, -1: what a trusted check of the label
said), `chosen_rating` and `rejected_rating` (numbers); steps `correct` (is the
answer right; else: are all steps). Other fields are ignored.
"""

import math
import numbers
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax.data.benchmarks.reading import Record

NAMES = ("source", "annotator", "user")


class Row(NamedTuple):
  """One judgement.

  place: where it stands, for messages.
  prompt: rows of one prompt are never split over training and testing.
  items: what is judged: texts, or vectors [D]; the steps of one text.
  values: numbers by name, of the kind.
  names: of `NAMES`, those that are known.
  """

  place: str
  prompt: str
  items: tuple[Any, ...]
  values: dict[str, Any]
  names: dict[str, str]

  def name(self, field: str) -> str:
    """What stands there; ValueError, naming the row, if nothing does."""
    if field not in self.names:
      raise ValueError(f"{self.place}: field {field!r} is missing.")
    return self.names[field]

  def known_name(self, field: str, known: Collection[str], what: str) -> str:
    """The same, one of those that `what` knows; else ValueError."""
    name = self.name(field)
    if name not in known:
      raise ValueError(
          f"{self.place}: field {field!r} is {name!r}, unknown to {what}: "
          f"{', '.join(sorted(known))}."
      )
    return name


def make(kind: str, record: Record) -> Row:
  """The row of a record.

  Raises:
    ValueError: naming place and field, for what makes no sense.
  """
  items, values = KINDS[kind](record)
  optional = {"weight": _at_least_0, **_OPTIONAL.get(kind, {})}
  for name, parse in optional.items():
    if record.fields.get(name) is not None:
      values[name] = record.value(name, *parse)
  values.setdefault("weight", 1.0)
  names = {x: record.name(x) for x in record.some(*NAMES)}
  return Row(record.place, record.text("prompt"), items, values, names)


def _pair(record: Record):
  items = tuple(_item(record, name) for name in ("chosen", "rejected"))
  if np.array_equal(*items):
    raise ValueError(
        f"{record.place}: fields 'chosen' and 'rejected' are equal, "
        f"{items[0]!r:.60}: nothing is preferred."
    )
  return items, {"outcome": 1}


def _tie(record: Record):
  items, _ = _pair(record)
  return items, {"outcome": record.value("label", *_outcome)}


def _rating(record: Record):
  rating = record.value("rating", *_number)
  return (_item(record, "completion"),), {"rating": rating}


def _ranking(record: Record):
  items = _items(record, "completions")
  ranks = record.value("ranks", *_integers)
  _check_length(record, completions=items, ranks=ranks)
  if len(items) < 2:
    raise ValueError(f"{record.place}: field 'completions' has less than two.")
  return items, {"ranks": ranks}


def _chain(record: Record):
  items = _items(record, "steps")
  labels = record.value("labels", *_shares)
  _check_length(record, steps=items, labels=labels)
  if not isinstance(items[0], str):
    raise ValueError(f"{record.place}: field 'steps' must hold texts.")
  correct = all(x > 0.5 for x in labels)
  return items, {"labels": labels, "correct": correct}


KINDS = {
    "pairs": _pair,
    "ties": _tie,
    "ratings": _rating,
    "rankings": _ranking,
    "steps": _chain,
}


def _check_length(record: Record, **fields: Sequence):
  (one, x), (other, y) = fields.items()
  if len(x) != len(y):
    raise ValueError(
        f"{record.place}: field {other!r} has {len(y)} entries for {len(x)} "
        f"{one}."
    )


def _item(record: Record, name: str) -> Any:
  return record.value(
      name, _parse_item, "a text that is not blank, or a finite vector"
  )


def _items(record: Record, name: str) -> tuple[Any, ...]:
  meaning = "a list of texts that are not blank, or of finite vectors"
  return record.value(name, lambda x: _parse_list(x, _parse_item), meaning)


def _parse_item(x):
  if isinstance(x, str):
    if not x.strip():
      raise ValueError
    return x
  if isinstance(x, list):  # numbers, of a file
    x = np.array([_parse_number(v) for v in x], np.float32)
  if not isinstance(x, np.ndarray) or not x.size or not np.isfinite(x).all():
    raise ValueError
  return x


def _parse_list(x, parse) -> tuple[Any, ...]:
  if not isinstance(x, list | tuple | np.ndarray) or not len(x):
    raise TypeError
  return tuple(map(parse, x))


def _parse_number(x) -> float:
  if isinstance(x, bool) or not isinstance(x, numbers.Real):
    raise TypeError
  if not math.isfinite(x):
    raise ValueError
  return float(x)


def _parse_integer(x) -> int:
  if _parse_number(x) != int(x):
    raise ValueError
  return int(x)


def _within(parse, allowed):
  def checked(x):
    value = parse(x)
    if not allowed(value):
      raise ValueError
    return value

  return checked


def _truth(x) -> bool:
  if not isinstance(x, bool) and x not in (0, 1):
    raise ValueError
  return bool(x)


def _share(x) -> float:
  x = float(x) if isinstance(x, bool) else x
  return _within(_parse_number, lambda v: 0 <= v <= 1)(x)


# How a field is read, and what a message says it must be.
_number = (_parse_number, "a finite number")
_at_least_0 = (
    _within(_parse_number, lambda x: x >= 0),
    "a finite number, at least 0",
)
_outcome = (
    _within(_parse_integer, lambda x: x in (1, 0, -1)),
    "1 (chosen is better), 0 (a tie) or -1",
)
_gold = (_within(_parse_integer, lambda x: x in (1, -1)), "1 or -1")
_integers = (lambda x: _parse_list(x, _parse_integer), "a list of integers")
_shares = (
    lambda x: _parse_list(x, _share),
    "a list of numbers in [0, 1] or booleans",
)
_COMPARED = {
    "strength": _at_least_0,
    "gold": _gold,
    "chosen_rating": _number,
    "rejected_rating": _number,
}
_OPTIONAL = {
    "pairs": _COMPARED,
    "ties": _COMPARED,
    "steps": {"correct": (_truth, "true or false")},
}
