"""What a reward model learns from: rows of judgements, checked one by one.

A file has one JSON object per line, or is Parquet; "tfds:name" or
"tfds:name/config" is a data set of TensorFlow Datasets. Fields by kind:

    pairs     prompt, chosen, rejected
    ties      prompt, chosen, rejected, label: 1 as named, 0 tie, -1 reversed
    ratings   prompt, completion, rating: a number
    rankings  prompt, completions, ranks: smaller is better, equal ones tie
    steps     prompt, steps, labels: 1 right, 0 wrong, between: a probability

Any row may also have `weight` (at least 0), and the names `source`,
`annotator` and `user`; pairs and ties `strength` (at least 0: by how much)
and `gold` (1 or -1: what a trusted check of the label said); steps `correct`
(is the answer right; else: are all steps). Other fields are ignored.
"""

import dataclasses
import math
import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax.core import checks
from rewardjax.data.benchmarks import reading
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


@dataclasses.dataclass(frozen=True)
class Data:
  """Rows of one kind."""

  kind: str
  rows: tuple[Row, ...]

  def __len__(self) -> int:
    return len(self.rows)

  def names(self, field: str) -> list[str]:
    """The distinct names of a field, sorted."""
    return sorted({r.names[field] for r in self.rows if field in r.names})

  @property
  def width(self) -> int:
    """D where items are vectors, 0 where they are texts."""
    first = self.rows[0].items[0]
    return 0 if isinstance(first, str) else len(first)


def read(path: str | os.PathLike, *, kind: str, split: str = "train") -> Data:
  """The rows of a file, or of a tfds data set.

  Args:
    path: ends in .jsonl, .json or .parquet, or starts with "tfds:".
    kind: one of `KINDS`.
    split: of a tfds data set.

  Raises:
    ValueError: naming file, line and field of the first row that makes no
      sense.
    OSError: if there is no such file.
  """
  path = os.fspath(path)
  if not path.startswith("tfds:"):
    return _make(kind, reading.records(path), path)
  import tensorflow_datasets as tfds

  source = tfds.data_source(path.removeprefix("tfds:"), split=split)
  return from_rows(source, kind=kind, name=path)


def from_rows(
    rows: Iterable[Mapping[str, Any]], *, kind: str, name: str = "rows"
) -> Data:
  """Rows that are there already: dicts, or a tfds data source.

  Raises:
    ValueError: naming the number of the row, from 0, and the field.
  """
  found = (
      Record(f"{name}, row {i}", {k: _plain(x) for k, x in row.items()})
      for i, row in enumerate(rows)
  )
  return _make(kind, found, name)


def from_arrays(*, kind: str, **columns: Any) -> Data:
  """Columns of equal length: lists of texts, or features [N, D].

  Without `prompt` every row is a prompt of its own; beside features a prompt
  only says which rows belong together.

  Raises:
    ValueError: naming the column, or the row and field, that makes no sense.
  """
  sizes = {name: len(column) for name, column in columns.items()}
  if len(set(sizes.values())) != 1:
    raise ValueError(f"from_arrays: columns must be equally long, got {sizes}.")
  count = next(iter(sizes.values()))
  columns.setdefault("prompt", [str(i) for i in range(count)])
  rows = ({k: x[i] for k, x in columns.items()} for i in range(count))
  return from_rows(rows, kind=kind, name="arrays")


def _plain(x: Any) -> Any:
  """NumPy and tfds as Python has it; vectors of floats stay."""
  if isinstance(x, bytes):
    return x.decode("utf-8")
  if hasattr(x, "__array__") and not isinstance(x, np.generic):
    x = np.asarray(x)
    if x.ndim and x.dtype.kind == "f":
      return x.astype(np.float32) if x.ndim == 1 else list(map(_plain, x))
    x = x.tolist()
  if isinstance(x, np.generic):
    return _plain(x.item())
  return [_plain(v) for v in x] if isinstance(x, list | tuple) else x


def _make(kind: str, records: Iterable[Record], name: str) -> Data:
  checks.one_of("reward_model.read", KINDS, kind=kind)
  rows = tuple(_row(kind, record) for record in records)
  if not rows:
    raise ValueError(f"{name}: no row.")
  for row in rows:
    _check_width(row, rows[0])
  return Data(kind, rows)


def _check_width(row: Row, first: Row):
  shapes = {np.shape(x) for x in (*row.items, first.items[0])}
  if len(shapes) > 1:
    raise ValueError(
        f"{row.place}: items must all be texts, or vectors of one length, got "
        f"shapes {sorted(shapes)}."
    )


def _row(kind: str, record: Record) -> Row:
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
_OPTIONAL = {
    "pairs": {"strength": _at_least_0, "gold": _gold},
    "ties": {"strength": _at_least_0, "gold": _gold},
    "steps": {"correct": (_truth, "true or false")},
}


def split(data: Data, *shares: float, seed: int) -> list[Data]:
  """Parts with about these shares of the prompts, and before them the rest.

  All rows of a prompt are in one part; which one, hangs on the seed alone.

  Raises:
    ValueError: if a part that was asked for gets no prompt.
  """
  prompts = sorted({row.prompt for row in data.rows})
  order = np.random.default_rng(seed).permutation(len(prompts))
  counts = [round(share * len(prompts)) if share else 0 for share in shares]
  counts = [max(n, 1) if share else 0 for n, share in zip(counts, shares)]
  if sum(counts) >= len(prompts):
    raise ValueError(
        f"split: {len(prompts)} prompts are too few for the shares {shares} "
        "and something to train on."
    )
  ends = np.cumsum(counts)
  part = np.searchsorted(ends, np.arange(len(prompts)), side="right")
  of = {prompts[i]: int(k) for i, k in zip(order, part)}
  chosen = lambda k: tuple(r for r in data.rows if of[r.prompt] == k)
  last = len(shares)
  return [Data(data.kind, chosen(k)) for k in (last, *range(last))]
