import numpy as np
import pytest

from rewardjax.search import prompts

LABELS = np.arange(20) >= 12  # what is true: at least 12


def judge(question, rows):
  """Reads a threshold off the question, whatever it says around it."""
  return rows >= int(question.split()[-1])


def nearer(question, wrong):
  """Moves the threshold by one towards the errors."""
  if not len(wrong):
    return []
  now = int(question.split()[-1])
  return [f"is it {now + (1 if wrong[0] >= now else -1)}"]


def test_finds_the_question_that_is_never_wrong():
  found = prompts.prompt_search(
      judge, nearer, ["is it 5", "is it 17"], LABELS,
      num_rounds=8, beam=2, batch_size=20,
  )
  assert found[0] == prompts.Question("is it 12", 1.0)
  assert len(found) == 2 and found[1].accuracy < 1


def test_without_rounds_it_picks_the_best_candidate():
  refuse = lambda question, wrong: pytest.fail("asked for edits")
  found = prompts.prompt_search(
      judge, refuse, ["is it 0", "is it 10", "is it 10"], LABELS,
      num_rounds=0, beam=3, batch_size=5,
  )
  assert found == [("is it 10", 0.9), ("is it 0", 0.4)]


def test_an_edit_must_be_better_to_take_a_place():
  same = lambda question, wrong: ["another 10"]
  found = prompts.prompt_search(
      judge, same, ["is it 10"], LABELS, num_rounds=3, beam=1, batch_size=20
  )
  assert found == [("is it 10", 0.9)]


def test_minibatches_follow_the_seed():
  asked = []

  def record(question, rows):
    asked.append(tuple(rows))
    return judge(question, rows)

  run = lambda seed: prompts.prompt_search(
      record, lambda *_: [], ["is it 3"], LABELS,
      num_rounds=2, beam=1, batch_size=4, seed=seed,
  )
  run(0), run(0), run(1)
  assert asked[:3] == asked[3:6] and asked[0] != asked[6]
  assert len(asked[0]) == 4 and len(asked[2]) == 20


def test_errors_name_arguments():
  search = lambda **options: prompts.prompt_search(
      judge, nearer, **{
          "candidates": ["is it 1"], "labels": LABELS, "num_rounds": 1,
          "beam": 1, "batch_size": 4, **options,
      }
  )
  with pytest.raises(ValueError, match="candidates must be in"):
    search(candidates=[])
  with pytest.raises(ValueError, match=r"batch_size must be in \[1, 20\]"):
    search(batch_size=21)
  with pytest.raises(ValueError, match="beam must be in"):
    search(beam=0)
