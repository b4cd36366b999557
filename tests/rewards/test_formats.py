import functools
import json
import re

import pytest

from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import formats

RIGHT, WRONG = Verdict(1.0, Status.CORRECT), Verdict(0.0, Status.WRONG)


def judge(verifier, said, reference=""):
  (verdict,) = verifier([""], [said], [reference])
  return verdict


def test_regex_by_hand():
  whole = functools.partial(formats.regex, pattern=r"<think>.*</think>\d+")
  assert judge(whole, "<think>so</think>12") == RIGHT
  assert judge(whole, "<think>so</think>12.") == WRONG
  assert judge(whole, "<think>a\nb</think>12") == WRONG
  lines = functools.partial(whole, flags=re.DOTALL)
  assert judge(lines, "<think>a\nb</think>12") == RIGHT
  found = functools.partial(formats.regex, pattern=r"\d", search=True)
  assert judge(found, "a1b") == RIGHT
  assert judge(found, "ab") == WRONG
  assert judge(found, "") == WRONG


def test_regex_of_the_reference():
  assert judge(formats.regex, "aab", "a*b") == RIGHT
  broken = judge(formats.regex, "aab", "a(")
  assert (broken.score, broken.status) == (None, Status.CRASHED)
  with pytest.raises(ValueError, match="pattern must be a regular expression"):
    formats.regex([], [], [], pattern="a(")


CITIES = {"answer": "B", "options": ["Rome", "Paris", "Oslo", "b"]}
# Two options with one text.
TWICE = {"answer": "A", "options": ["yes", "Yes.", "no"]}
UNCLEAR = Status.UNPARSABLE


@pytest.mark.parametrize(
    ("said", "reference", "expected"),
    [
        ("B", "B", RIGHT),
        ("b", "B", RIGHT),
        ("(B)", "B", RIGHT),
        ("**B.**", "B", RIGHT),
        (r"so \boxed{B}", "B", RIGHT),
        ("B) Paris", "B", RIGHT),
        ("C", "B", WRONG),
        ("The answer is B, not C.", "B", RIGHT),
        ("Answer: (C) it is", "b", WRONG),
        ("the answer is a cat", "A", UNCLEAR),
        ("the answer is A ... no, the answer is B", "B", UNCLEAR),
        ("A or B", "B", UNCLEAR),
        ("A cat", "A", UNCLEAR),
        ("K", "B", UNCLEAR),
        ("I do not know", "B", UNCLEAR),
        ("", "B", UNCLEAR),
        ("paris", CITIES, RIGHT),
        ("Paris.", CITIES, RIGHT),
        ("Oslo", CITIES, WRONG),
        ("B) Paris", CITIES, RIGHT),
        ("B) Oslo", CITIES, UNCLEAR),
        ("A) Rome", CITIES, WRONG),
        # An option's text goes before a letter.
        ("b", CITIES, WRONG),
        ("J", CITIES, WRONG),
        ("Paris or Rome", CITIES, UNCLEAR),
        ("yes", TWICE, UNCLEAR),
        ("A. yes", TWICE, RIGHT),
    ],
)
def test_multiple_choice_pairs(said, reference, expected):
  if isinstance(reference, dict):
    reference = json.dumps(reference)
  verdict = judge(formats.multiple_choice, said, reference)
  if isinstance(expected, Verdict):
    assert verdict == expected
  else:
    assert (verdict.score, verdict.status) == (None, expected)


@pytest.mark.parametrize(
    "reference",
    ["", "K", "BB", "{", '{"answer": "C", "options": ["a", "b"]}', "{}"]
    + ['{"answer": 1, "options": ["a"]}', '{"answer": "A", "options": []}'],
)
def test_a_broken_reference_is_no_fault_of_the_completion(reference):
  verdict = judge(formats.multiple_choice, "B", reference)
  assert (verdict.score, verdict.status) == (None, Status.CRASHED)
  assert "reference" in verdict.detail


def test_errors_name_the_argument():
  for verifier in (formats.regex, formats.multiple_choice):
    with pytest.raises(ValueError, match="'references': 0"):
      verifier([""], ["1"], [])
