import pytest

from rewardjax.outcomes import Status
from rewardjax.rewards import patterns
from rewardjax.rewards.verifiers import verdicts

EXAMPLE = "First, I need to add. Wait, let me check. Therefore 4"


def test_form_of_the_table():
  """first, / i need to / wait / let me check / therefore: 5 of 20."""
  assert len(set(patterns.PHRASES)) == 40
  assert patterns.form_score(EXAMPLE) == 0.25
  assert patterns.form_score(EXAMPLE.lower()) == 0.25


def test_presence_is_paid_not_repetition():
  assert patterns.form_score("wait " * 10) == patterns.form_score("wait")


def test_a_repeated_paragraph_loses_everything():
  words = EXAMPLE.split() + [f"w{i}" for i in range(25 - 11)]
  paragraph = " ".join(words) + " "
  assert len(paragraph.split()) == 25
  assert patterns.form_score(paragraph) == 0.25
  scores = [patterns.form_score(paragraph * n) for n in (2, 3, 8)]
  # 31 words have 12 runs more than 20 long, of which 6 come twice.
  assert scores[0] < 0.25 and scores[1:] == [0.0, 0.0]


@pytest.mark.parametrize(
    "said,size,expected",
    [
        ("", 1, 0.0),
        ("a b", 3, 0.0),
        ("a a a", 1, 1.0),
        ("a b a c", 1, 1 / 3),
        ("a b a b", 2, 1 / 2),
    ],
)
def test_repetition_by_hand(said, size, expected):
  assert patterns.repetition(said, size=size) == pytest.approx(expected)


def test_made_up_turns_cost_a_full_point():
  assert patterns.form_score(EXAMPLE + "\nUser: and 3 + 3?") == 0.0


def test_the_score_is_bounded():
  everything = " ".join(patterns.PHRASES)
  assert patterns.form_score(everything) == 1.0
  assert patterns.form_score(everything, phrases=("zebra",)) == 0.0
  assert patterns.form_score("wait", cap=1) == 1.0


def test_an_unreadable_answer_counts_nothing():
  found = patterns.reasoning_form(
      [""] * 3, [EXAMPLE, EXAMPLE[:-2], "4"], ["7"] * 3
  )
  assert [v.score for v in found] == [0.25, None, 0.0]
  assert found[1].status == Status.UNPARSABLE
  reward = verdicts.to_reward(found, unparsable=0.0)
  assert reward.value.tolist() == [0.25, 0.0, 0.0]
  assert reward.valid.all()


def test_names_bad_arguments():
  with pytest.raises(ValueError, match="cap must be in"):
    patterns.form_score("a", cap=0)
  with pytest.raises(ValueError, match="size must be in"):
    patterns.repetition("a", size=0)
  with pytest.raises(ValueError, match="expected one common length"):
    patterns.reasoning_form([""], [], [])
