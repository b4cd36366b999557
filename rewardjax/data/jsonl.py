"""Reads a user's JSON lines of prompts and answers, and says what is wrong.

Every error names the file, the line and the field. A file may also be one
JSON list, which is streamed as well.
"""

import json
import os
from collections.abc import Iterator
from typing import Any, TextIO

_INT64 = range(-(2**63), 2**63)
_CHUNK = 2**16  # bytes or characters read at once


def read(
    path: str | os.PathLike,
    *,
    prompt_field: str = "prompt",
    answer_field: str = "answer",
) -> list[dict[str, Any]]:
  """Rows with `prompt`, `answer` and every other column of the file.

  Blank lines are skipped. Prompts are strings, answers strings or numbers
  (kept as they are written by JSON). Other columns are strings, booleans,
  integers or floats, each of one type throughout; lists and objects are kept
  as JSON text.

  Raises:
    ValueError: naming file, line and field, for anything else: bytes that
      are not UTF-8, broken JSON, a missing, repeated or unexpected field, a
      value of the wrong type, NaN, an integer beyond 64 bits, no row at all.
  """
  rename = {prompt_field: "prompt", answer_field: "answer"}
  rows, types = [], {}
  for place, record in records(path):
    for field in rename:
      if field not in record:
        raise ValueError(f"{place}: field {field!r} is missing.")
    row = {}
    for field, value in record.items():
      name = rename.get(field, field)
      if name in row or (name != field and name in record):
        raise ValueError(f"{place}: field {name!r} appears twice.")
      row[name] = _checked(place, field, name, value)
    _check_types(place, row, types)
    rows.append(row)
  if not rows:
    raise ValueError(f"{os.fspath(path)}: no row.")
  return [{k: types[k](v) for k, v in row.items()} for row in rows]


def records(
    path: str | os.PathLike, *, nan: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields "file:line" and the object on that line, whatever its fields.

  Args:
    path: of the file.
    nan: whether NaN and infinities are read, which Python writes though they
      are no JSON.

  Raises:
    ValueError: naming file and line, for what is no object in JSON or not
      UTF-8, and for a field that appears twice.
  """
  with open(path, "rb") as file:  # bytes, so that a bad one has a line
    for number, line in enumerate(file, 1):
      place = f"{os.fspath(path)}:{number}"
      try:
        # A byte-order mark may begin the first line.
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
      except UnicodeDecodeError as error:
        raise ValueError(f"{place}: not UTF-8: {error}.") from error
      if text.strip():
        yield place, _parse(place, text, nan)


def is_list(path: str | os.PathLike) -> bool:
  """Whether the file is one JSON list, by its first character."""
  with open(path, "rb") as file:
    return file.read(_CHUNK).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def listed(
    path: str | os.PathLike, *, nan: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields "file, row n" and the n-th object of a file that is one JSON list.

  A few objects are in memory at a time. `nan` is as in `records`.

  Raises:
    ValueError: naming file and row, as `records`, and for what is no list.
  """
  place = os.fspath(path)
  with open(path, encoding="utf-8-sig") as file:
    try:
      start = file.read(_CHUNK).lstrip()
      if not start.startswith("["):
        raise ValueError(f"{place}: expected a list of rows.")
      rest, number = start[1:], 1
      while True:
        place = f"{os.fspath(path)}, row {number}"
        found, rest = _element(place, file, rest, nan)
        if rest is None:
          return
        yield place, _object(place, found)
        number += 1
    except UnicodeDecodeError as error:
      raise ValueError(f"{place}: not UTF-8: {error}.") from error


def _element(place: str, file: TextIO, text: str, nan: bool):
  """The value that `text` begins with, read until it is whole; what follows.

  What follows is None at the end of the list.
  """
  while True:
    text = text.lstrip()
    try:
      if text.startswith("]"):
        if (text[1:] + file.read()).strip():
          raise ValueError("more follows the list")
        return None, None
      found, end = _DECODERS[nan].raw_decode(text)
      rest = text[end:].lstrip()
      if rest.startswith((",", "]")):
        return found, rest.removeprefix(",")
      problem = "expected , or ] after a row"
      if rest:
        raise ValueError(problem)
    except json.JSONDecodeError as error:
      # Unless more of the file makes it whole. Not the error: it would keep
      # the text, in a cycle with this frame.
      problem = str(error)
    except (ValueError, RecursionError) as error:
      raise ValueError(f"{place}: {error}.") from error
    more = file.read(max(_CHUNK, len(text)))
    if not more:
      raise ValueError(f"{place}: {problem}.")
    text += more


def _unique(pairs):
  fields = dict(pairs)
  if len(fields) < len(pairs):
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f"field {twice!r} appears twice")
  return fields


def _refuse(constant):
  raise ValueError(f"{constant} is not JSON")


_DECODERS = {
    nan: json.JSONDecoder(
        object_pairs_hook=_unique, parse_constant=None if nan else _refuse
    )
    for nan in (False, True)
}


def _parse(place: str, text: str, nan: bool) -> dict[str, Any]:
  try:
    found = _DECODERS[nan].decode(text)
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{place}: {error}.") from error
  return _object(place, found)


def _object(place: str, found: Any) -> dict[str, Any]:
  if not isinstance(found, dict):
    raise ValueError(
        f"{place}: expected an object, got {json.dumps(found)[:40]!r}."
    )
  return found


def _checked(place: str, field: str, name: str, value: Any) -> Any:
  """The value as it is stored, or a ValueError that names the field."""
  number = isinstance(value, int | float) and not isinstance(value, bool)
  if name == "answer" and number:
    value = json.dumps(value)
  if name in ("prompt", "answer") and not isinstance(value, str):
    raise ValueError(
        f"{place}: field {field!r} must be a string, got {value!r:.80}."
    )
  if value is None or (type(value) is int and value not in _INT64):
    raise ValueError(
        f"{place}: field {field!r} must be a string, a boolean, a 64-bit "
        f"number, a list or an object, got {value!r:.80}."
    )
  if isinstance(value, str):
    try:
      value.encode("utf-8")
    except UnicodeEncodeError as error:
      raise ValueError(f"{place}: field {field!r}: {error}.") from error
  return json.dumps(value) if isinstance(value, list | dict) else value


def _check_types(place: str, row: dict[str, Any], types: dict[str, type]):
  """Compares a row with the first; integers may join a column of floats."""
  if types and row.keys() != types.keys():
    odd = sorted(row.keys() ^ types.keys())[0]
    problem = "is unexpected" if odd in row else "is missing"
    raise ValueError(
        f"{place}: field {odd!r} {problem}, unlike in the first row."
    )
  for name, value in row.items():
    expected, actual = types.setdefault(name, type(value)), type(value)
    if {expected, actual} == {int, float}:
      types[name] = float
    elif expected is not actual:
      raise ValueError(
          f"{place}: field {name!r} must be {expected.__name__} as in the "
          f"first row, got {value!r:.80}."
      )
