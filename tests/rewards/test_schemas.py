import json

import pytest

from rewardjax.outcomes import Status
from rewardjax.rewards.verifiers import schemas

TOOL = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "maxLength": 5},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "share": {"type": "number", "maximum": 1.5},
        "unit": {"enum": ["C", "F", 1]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "inner": {
            "type": "object",
            "properties": {"on": {"type": "boolean", "description": "lit"}},
        },
        "none": {"type": "null"},
    },
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"city": ""}, "city: must have 1 .. 5 letters"),
        ({"city": "London"}, "city: must have 1 .. 5 letters"),
        ({"city": 3}, "city: must be of type string"),
        ({"days": 14}, None),
        ({"days": 3.0}, None),
        ({"days": 3.5}, "days: must be of type integer"),
        ({"days": True}, "days: must be of type integer"),
        ({"days": "3"}, "days: must be of type integer"),
        ({"days": 0}, "days: must be in 1 .. 14"),
        ({"days": 15}, "days: must be in 1 .. 14"),
        ({"share": -10**400}, None),
        ({"share": float("nan")}, "share: must be in -inf .. 1.5"),
        ({"unit": "F"}, None),
        ({"unit": 1.0}, None),
        ({"unit": True}, "unit: must be one of ['C', 'F', 1]"),
        ({"unit": "f"}, "unit: must be one of ['C', 'F', 1]"),
        ({"tags": ["a", "b"]}, None),
        ({"tags": ["a", 2]}, "tags[1]: must be of type string"),
        ({"inner": {"on": False, "else": 2}}, None),
        ({"inner": {"on": 0}}, "inner.on: must be of type boolean"),
        ({"inner": []}, "inner: must be of type object"),
        ({"none": None}, None),
        ({"none": 0}, "none: must be of type null"),
        ({"zip": 1}, "zip: is not known"),
    ],
)
def test_rules_by_hand(change, expected):
  assert schemas.broken_rule({"city": "Oslo"} | change, TOOL) == expected


def test_what_is_missing_and_a_value_alone():
  assert schemas.broken_rule({}, TOOL) == "city: is missing"
  assert schemas.broken_rule(5, {"maximum": 4}) == "must be in -inf .. 4"
  assert schemas.broken_rule("", {"minLength": 1}) == (
      "must have 1 .. inf letters"
  )
  assert schemas.broken_rule([1], TOOL) == "must be of type object"


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"items": []}, "items must be of type object"),
        ({"properties": {"a": 1}}, "schema must be an object, got 1"),
        ({"pattern": "a"}, "unknown keywords \\['pattern'\\]"),
        ({"properties": {"a": {"oneOf": []}}}, "unknown keywords"),
        ({"items": {"type": "text"}}, "unknown type 'text'"),
        ({"type": ["string", "null"]}, "type must be of type string"),
        ({"minimum": "1"}, "minimum must be of type number"),
        ({"enum": 3}, "enum must be of type array"),
        ({"additionalProperties": {}}, "additionalProperties must be of type"),
    ],
)
def test_a_rule_that_is_not_known_is_never_skipped(schema, message):
  with pytest.raises(ValueError, match=message):
    schemas.broken_rule("", schema)


def said(*calls):
  lines = "\n".join(map(json.dumps, calls))
  return f"<think></think>\n<tool_call>\n{lines}\n</tool_call>"


def verdict(completion, tools=({"name": "look", "parameters": TOOL},)):
  return schemas.tool_schemas([""], [completion], [json.dumps(tools)])[0]


def test_verdicts():
  look = lambda **given: {"name": "look", "parameters": given}
  right = verdict(said(look(city="Oslo"), look(city="Bern", days=2)))
  assert (right.score, right.status) == (1.0, Status.CORRECT)
  wrong = verdict(said(look(city="Oslo"), look(city="Bern", days=20)))
  assert (wrong.score, wrong.status) == (0.0, Status.WRONG)
  assert wrong.detail == "look: days: must be in 1 .. 14"
  other = verdict(said({"name": "find", "parameters": {}}))
  assert other.detail == "unknown tool 'find'"
  for nothing in ("no call", said(), "<tool_call>{</tool_call>"):
    assert verdict(nothing).status == Status.UNPARSABLE
    assert verdict(nothing).score is None


@pytest.mark.parametrize(
    "reference", ["{", "{}1", "[1]", '[{"name": "a"}]',
                  '[{"name": "a", "parameters": {"pattern": "b"}}]'],
)
def test_a_reference_that_is_none_crashes(reference):
  found = schemas.tool_schemas([""], [said()], [reference])[0]
  assert found.status == Status.CRASHED
  assert found.score is None
