import functools

import pytest

from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import answers, parsing

RIGHT, WRONG = Verdict(1.0, Status.CORRECT), Verdict(0.0, Status.WRONG)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("12", "12"),
        ("so\n\n  12  \n\n", "12"),
        ("I think 11.\n#### 12", "12"),
        ("#### 11\nno\n#### 12\nis the answer", "12"),
        (r"\boxed{11} or \boxed{\frac{1}{2}} it is", r"\frac{1}{2}"),
        ("<answer>11</answer> <answer>\n12\n</answer> done", "12"),
        # The first place of the list wins, wherever it stands.
        (r"<answer>12</answer> \boxed{11} #### 10", "12"),
        (r"\boxed{12} #### 10", "12"),
        (r"\boxed{}12", None),
        (r"12 \boxed{1", None),
        ("12 <answer>1", None),
        ("<answer> </answer> 12", None),
        ("12\n####", None),
        ("12\n####\n13", None),
        ("", None),
        (" \n\t", None),
    ],
)
def test_extract_by_hand(said, expected):
  if expected is not None:
    assert answers.extract(said) == expected
  else:
    with pytest.raises(parsing.Unreadable):
      answers.extract(said)


def test_places_marker_and_tag_are_the_callers(no_jaxtyping):
  extract = functools.partial(answers.extract, "a\n<final>b</final>\nA: c d\n")
  assert extract(places=("tag",), tag="final") == "b"
  assert extract(places=("marker",), marker="A:") == "c d"
  assert extract(places=("whole",)).startswith("a\n<final>")
  with pytest.raises(parsing.Unreadable, match="no boxed or marker"):
    extract(places=("boxed", "marker"))
  with pytest.raises(ValueError, match="places must be one of tag, boxed"):
    extract(places=("tag", "last"))


def strict(said, right, **options):
  (verdict,) = answers.strict([""], [said], [right], **options)
  return verdict


@pytest.mark.parametrize(
    ("said", "right", "expected"),
    [
        ("12", "12", RIGHT),
        ("we get\n#### 12\n", " 12 ", RIGHT),
        ("a  b", "a\tb", RIGHT),
        ("12.", "12", WRONG),
        ("0.5", "1/2", WRONG),
        ("50", "50%", WRONG),
        ("the answer is 12", "12", WRONG),
        ("A", "a", WRONG),
    ],
)
def test_strict_pairs(said, right, expected):
  assert strict(said, right) == expected


def test_words_before_the_answer_when_allowed():
  assert strict("the answer is 12", "12", ends_with=True) == RIGHT
  assert strict("12", "12", ends_with=True) == RIGHT
  for said in ("112", "-12", "12 apples", "0.12"):
    assert strict(said, "12", ends_with=True) == WRONG


def test_nothing_to_compare_is_never_a_zero():
  """Pain 22 (NeMo-RL #431): unknown is no false negative."""
  empty = strict("", "12")
  assert (empty.score, empty.status) == (None, Status.UNPARSABLE)
  blank = strict("12", " ")
  assert (blank.score, blank.status) == (None, Status.CRASHED)


def test_errors_name_the_argument(no_jaxtyping):
  with pytest.raises(ValueError, match="strict: .*'references': 0"):
    answers.strict([""], ["1"], [])
  with pytest.raises(ValueError, match="strict: places must be one of"):
    answers.strict([], [], [], places=("box",))
