import functools
from fractions import Fraction

import pytest

from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import text

RIGHT = Verdict(1.0, Status.CORRECT)
WRONG = Verdict(0.0, Status.WRONG)


def judge(verifier, said, right):
  (verdict,) = verifier([""], [said], [right])
  return verdict


@pytest.mark.parametrize(
    ("said", "right", "expected"),
    [
        ("50", "50%", WRONG),
        ("50%", "50", WRONG),
        ("0.5", "50%", RIGHT),
        ("50%", "1/2", RIGHT),
        ("-7", "\u22127", RIGHT),
        ("\u22127", "-7", RIGHT),
        ("7", "-7", WRONG),
        ("1/2", "0.5", RIGHT),
        ("2/4", "1/2", RIGHT),
        ("0.333", "1/3", WRONG),
        ("1,000", "1000", RIGHT),
        ("1,000", "1", WRONG),
        ("the answer is 12.", "12", RIGHT),
        ("112", "12", WRONG),
        ("12", "112", WRONG),
        ("-0", "0", RIGHT),
        ("12.0", "12", RIGHT),
        ("5 cm", "5 cm", RIGHT),
        ("5cm", "5 cm", RIGHT),
        ("12 apples", "12", RIGHT),
        ("$12", "12", RIGHT),
        ("12", "$12$", RIGHT),
        ("it costs $12", "$12", RIGHT),
        ("60 km/h.", "60 km/h", RIGHT),
        ("9" * 300, "9" * 300, RIGHT),
        ("9" * 299 + "8", "9" * 300, WRONG),
    ],
)
def test_numeric_pairs(said, right, expected):
  assert judge(text.numeric, said, right) == expected


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("5 m", "5 cm"),
        ("5 mm", "5 m"),
        ("5", "5 cm"),
        ("12k", "12"),
        ("12x", "12"),
        ("€12", "$12"),
        ("12", "$12"),
        ("60 km", "60 km/h"),
        ("60 km/h", "60 km"),
    ],
)
def test_another_unit_is_wrong_unless_units_are_ignored(said, right):
  verdict = judge(text.numeric, said, right)
  assert verdict == Verdict(0.0, Status.WRONG, "another unit")
  no_units = functools.partial(text.numeric, units=False)
  assert judge(no_units, said, right) == RIGHT


@pytest.mark.parametrize("said", ["", "nan", "9**9**9", "1e999999999", "inf"])
def test_no_number_is_unparsable_and_never_zero(said):
  """Pain 22 (NeMo-RL #431): what is not known is no false negative."""
  verdict = judge(text.numeric, said, "9")
  assert verdict.status is Status.UNPARSABLE
  assert verdict.score is None and verdict.detail


def test_text_is_never_evaluated(tmp_path):
  """Pain 25 (tunix c80286a9): eval in a reward ran whatever a model wrote."""
  path = tmp_path / "file"
  said = f"__import__('pathlib').Path({str(path)!r}).touch() or 1"
  for verifier in (text.numeric, text.exact_match, text.continuous_reward):
    judge(verifier, said, "1")
    judge(verifier, f"\\boxed{{{said}}}", "1")
  assert not path.exists()


def test_a_reference_without_a_number_is_no_fault_of_the_completion():
  for right in ("", "x or y", "3 or 4", "[1, 2]"):
    verdict = judge(text.numeric, "3", right)
    assert verdict.status is Status.CRASHED
    assert verdict.score is None and "reference" in verdict.detail


def test_tolerances_are_inclusive_and_take_the_larger():
  by = functools.partial
  absolute = by(text.numeric, absolute_tolerance=0.5)
  assert judge(absolute, "10.5", "10") == RIGHT
  assert judge(absolute, "10.51", "10") == WRONG
  relative = by(text.numeric, relative_tolerance=0.25)
  assert judge(relative, "-12.5", "-10") == RIGHT
  assert judge(relative, "10", "-10") == WRONG
  both = by(relative, absolute_tolerance=3.0)
  assert judge(both, "12.9", "10") == RIGHT


def test_exact_match_by_hand():
  verdicts = text.exact_match(
      [""] * 4, [" a  b\n", "ab", "A b", ""], ["a b", "a b", "a b", ""]
  )
  assert verdicts == [RIGHT, WRONG, WRONG, RIGHT]
  strict = functools.partial(text.exact_match, ignore_blanks=False)
  assert judge(strict, "a ", "a") == WRONG
  assert judge(strict, "a", "a") == RIGHT


@pytest.mark.parametrize(
    ("said", "expected"),
    [("10", 1.0), ("10.5", 0.725), ("11", 0.45), ("12", 0.4), ("100", 0.0)],
)
def test_continuous_reward_of_the_paper(said, expected):
  verdict = judge(text.continuous_reward, said, "10")
  assert verdict.score == pytest.approx(expected, abs=1e-9)
  assert (verdict.status is Status.CORRECT) == (said == "10")


def test_closeness_does_not_leak_the_sign():
  # 1 - 0.001 / 2 - 1 / 2: an answer of 0 has the whole relative error.
  score = text.closeness(0, Fraction(1, 1000))
  assert score == pytest.approx(0.4995, abs=1e-8)
  assert text.closeness(-5, 5) == 0.0
  assert text.closeness(0, 0) == 1.0


def test_continuous_reward_keeps_unknown_apart():
  verdict = judge(text.continuous_reward, "ten", "10")
  assert verdict.status is Status.UNPARSABLE and verdict.score is None


def test_verdicts_do_not_depend_on_the_batch():
  """Pain 18 (TRL #422): a score alone is the score in a batch."""
  said, right = ["1", "x", "3.0", "5 cm"], ["1", "2", "3", "5 m"]
  for verifier in (text.numeric, text.exact_match, text.continuous_reward):
    alone = [judge(verifier, *pair) for pair in zip(said, right)]
    assert verifier([""] * 4, said, right) == alone
  assert text.numeric([], [], []) == []


def test_errors_name_the_argument():
  for verifier in (text.numeric, text.exact_match, text.continuous_reward):
    with pytest.raises(ValueError, match="'references': 0"):
      verifier([""], ["1"], [])
  with pytest.raises(ValueError, match="absolute_tolerance must be in"):
    text.numeric([], [], [], absolute_tolerance=-1.0)
  with pytest.raises(ValueError, match="relative_tolerance must be in"):
    text.numeric([], [], [], relative_tolerance=float("nan"))
  with pytest.raises(ValueError, match="epsilon must be in"):
    text.closeness(1, 1, epsilon=0.0)
