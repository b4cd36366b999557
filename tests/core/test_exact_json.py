import fractions
import json

import pytest

from rewardjax.core import exact_json


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1, 2.5, "½", True],
        (1, (2, [3, ()])),
        {"a": {1: "x", (2, 3): None}, "b": []},
        {"__tuple__": [1]},
        {"__dict__": [[1, 2]]},
        {"__tuple__": 1, "__dict__": 2},
        10**30,
    ],
)
def test_there_and_back(value):
  text = exact_json.dumps(value)
  found = exact_json.loads(text)
  assert found == value and repr(found) == repr(value)
  json.loads(text)


def test_plain_values_are_plain_json():
  assert exact_json.dumps({"a": [1, "b"]}) == '{"a": [1, "b"]}'
  assert exact_json.loads('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}


def test_anything_else_is_an_error_unless_something_stands_for_it():
  third = fractions.Fraction(1, 3)
  with pytest.raises(TypeError, match="Fraction"):
    exact_json.dumps([third])
  text = exact_json.dumps([third], default=str)
  assert exact_json.loads(text) == ["1/3"]
  with pytest.raises(ValueError, match="not JSON compliant"):
    exact_json.dumps(float("nan"))
