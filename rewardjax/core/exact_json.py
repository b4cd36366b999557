"""JSON text that gives back the Python values it was made of.

Plain JSON turns tuples into lists and the keys of a dictionary into strings.
"""

import json
from collections.abc import Callable
from typing import Any

_TUPLE, _DICT = "__tuple__", "__dict__"


def dumps(
    value: Any, *, default: Callable[[Any], Any] | None = None
) -> str:
  """The value as JSON, on one line.

  Args:
    value: None, a number, a string, or a list, tuple or dictionary of such.
    default: what stands for anything else, such as `str`.

  Raises:
    TypeError: for anything else if `default` is None.
    ValueError: for NaN and infinities, which are not JSON.
  """
  return json.dumps(_encode(value), allow_nan=False, default=default)


def loads(text: str) -> Any:
  """What `dumps` was given; of any other JSON, its plain value."""
  return json.loads(text, object_hook=_decode)


def _encode(value: Any) -> Any:
  if isinstance(value, tuple):
    return {_TUPLE: [_encode(x) for x in value]}
  if isinstance(value, list):
    return [_encode(x) for x in value]
  if not isinstance(value, dict):
    return value
  plain = all(isinstance(key, str) for key in value)
  if plain and not value.keys() & {_TUPLE, _DICT}:
    return {key: _encode(x) for key, x in value.items()}
  return {_DICT: [[_encode(key), _encode(x)] for key, x in value.items()]}


def _decode(found: dict[str, Any]) -> Any:
  if found.keys() == {_TUPLE}:
    return tuple(found[_TUPLE])
  if found.keys() == {_DICT}:
    return dict(found[_DICT])
  return found
