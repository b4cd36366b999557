"""A verifier of form: are tools called as their JSON schemas demand?

What is asked for is another question, which `tool_calls` answers.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import text, tool_calls

_TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
# The type of what each keyword holds.
_KEYWORDS = {
    "type": "string",
    "enum": "array",
    "minimum": "number",
    "maximum": "number",
    "minLength": "integer",
    "maxLength": "integer",
    "items": "object",
    "properties": "object",
    "required": "array",
    "additionalProperties": "boolean",
}
# They say nothing about a value.
_NOTES = {"title", "description", "default", "examples"}


def broken_rule(value: Any, schema: Mapping[str, Any]) -> str | None:
  """The first rule that a JSON value breaks, or None.

  A part of JSON Schema: type, enum, minimum, maximum, minLength, maxLength,
  items, properties, required, additionalProperties (a truth value).

  Args:
    value: as `json.loads` returns it.
    schema: likewise.

  Returns:
    Where and what, such as "days: must be at most 14".

  Raises:
    ValueError: if the schema holds a keyword or a type that is not known
      here. To skip a rule would pass what it forbids.
  """
  _check_schema(schema)
  return _broken(value, schema, "")


def _check_schema(schema) -> None:
  if not isinstance(schema, Mapping):
    raise ValueError(f"broken_rule: a schema must be an object, got {schema}.")
  unknown = sorted(set(schema) - set(_KEYWORDS) - _NOTES)
  if unknown:
    raise ValueError(f"broken_rule: schema has unknown keywords {unknown}.")
  for keyword, kind in _KEYWORDS.items():
    if keyword in schema and not _is_type(schema[keyword], kind):
      raise ValueError(f"broken_rule: {keyword} must be of type {kind}.")
  if schema.get("type", "null") not in _TYPES:
    raise ValueError(f"broken_rule: unknown type {schema['type']!r}.")
  for inner in schema.get("properties", {}).values():
    _check_schema(inner)
  if "items" in schema:
    _check_schema(schema["items"])


def _is_type(value, name) -> bool:
  if name == "integer" and isinstance(value, float):
    return value.is_integer()  # 3.0 is an integer in JSON Schema
  # Python's booleans are integers, JSON's are not.
  if isinstance(value, bool) and name != "boolean":
    return False
  return isinstance(value, _TYPES[name])


def _broken(value, schema, where) -> str | None:
  at = f"{where}: " if where else ""
  if "type" in schema and not _is_type(value, schema["type"]):
    return f"{at}must be of type {schema['type']}"
  if "enum" in schema and not any(
      tool_calls.same_value(value, x) for x in schema["enum"]
  ):
    return f"{at}must be one of {schema['enum']}"
  rules = (_broken_number, _broken_text, _broken_object, _broken_array)
  for rule in rules:
    found = rule(value, schema, where)
    if found is not None:
      return found
  return None


def _broken_number(value, schema, where) -> str | None:
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    return None
  low = schema.get("minimum", -math.inf)
  high = schema.get("maximum", math.inf)
  if not low <= value <= high:  # nan is outside of every range
    return f"{where}: must be in {low} .. {high}".removeprefix(": ")
  return None


def _broken_text(value, schema, where) -> str | None:
  if not isinstance(value, str):
    return None
  low, high = schema.get("minLength", 0), schema.get("maxLength", math.inf)
  if not low <= len(value) <= high:
    return f"{where}: must have {low} .. {high} letters".removeprefix(": ")
  return None


def _broken_object(value, schema, where) -> str | None:
  if not isinstance(value, dict):
    return None
  inside = lambda name: f"{where}.{name}" if where else name
  known = schema.get("properties", {})
  for name in schema.get("required", ()):
    if name not in value:
      return f"{inside(name)}: is missing"
  for name, inner in value.items():
    if name in known:
      found = _broken(inner, known[name], inside(name))
      if found is not None:
        return found
    elif not schema.get("additionalProperties", True):
      return f"{inside(name)}: is not known"
  return None


def _broken_array(value, schema, where) -> str | None:
  if not isinstance(value, list) or "items" not in schema:
    return None
  for i, inner in enumerate(value):
    found = _broken(inner, schema["items"], f"{where}[{i}]")
    if found is not None:
      return found
  return None


def tool_schemas(
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[str],
) -> list[Verdict]:
  """1 where every call names a known tool and keeps to its schema, else 0.

  Args:
    prompts: not read.
    completions: see `tool_calls.parse_calls`.
    references: the tools, a JSON list of objects `{"name": .., "parameters":
      schema}`.

  Returns:
    Wrong with what is broken; unparsable where there is no call that can be
    read; crashed where a reference is none.

  Raises:
    ValueError: if lengths differ.
  """
  text.check_lengths("tool_schemas", prompts, completions, references)
  return [_judge(*row) for row in zip(completions, references)]


def _judge(said: str, reference: str) -> Verdict:
  try:
    tools = {x["name"]: x["parameters"] for x in json.loads(reference)}
    for schema in tools.values():
      _check_schema(schema)
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    detail = f"reference {reference[:40]!r}: {error}"
    return Verdict(None, Status.CRASHED, detail)
  calls = tool_calls.parse_calls(said)
  if not calls:
    return Verdict(None, Status.UNPARSABLE, "no readable call")
  for call in calls:
    if call.name not in tools:
      return Verdict(0.0, Status.WRONG, f"unknown tool {call.name[:40]!r}")
    found = broken_rule(call.parameters, tools[call.name])
    if found is not None:
      return Verdict(0.0, Status.WRONG, f"{call.name}: {found}")
  return Verdict(1.0, Status.CORRECT)
