import numpy as np
import pytest

from rewardjax.data.benchmarks import judging, scores
from rewardjax.types import EvalRow, ScoredRow

ROWS = [
    EvalRow(str(i), "", "s", "p", (f"right {i}", f"bad {i}", f"worse {i}"), 1)
    for i in range(300)
]


def knows(prompts, answers, *, meta):
  del prompts, meta
  return [[a.split()[0] for a in shown].index("right") for shown in answers]


def first(prompts, answers, *, meta):
  del answers, meta
  return [0] * len(prompts)


def silent(prompts, answers, *, meta):
  """Reads nothing where the right answer comes first."""
  return [
      None if shown[0].startswith("right") else said
      for shown, said in zip(answers, knows(prompts, answers, meta=meta))
  ]


def ask(judge, path, rows=ROWS, num_votes=1, **options):
  return list(scores.score_rows(
      judging.as_scorer(judge),
      judging.ballots(rows, num_votes=num_votes),
      path,
      **options,
  ))


def test_a_judge_that_knows_and_one_that_names_the_first(tmp_path):
  right = ask(knows, tmp_path / "a")
  assert all(row.scores == (0.0,) for row in right)
  # Which answer is shown first is drawn: each is for a third of the rows.
  named = [row.scores[0] for row in ask(first, tmp_path / "b")]
  share = np.bincount(np.array(named, int), minlength=3) / len(ROWS)
  np.testing.assert_allclose(share, 1 / 3, atol=0.08)


def test_every_vote_has_its_own_order(tmp_path):
  rows = ask(first, tmp_path / "a", ROWS[:30], num_votes=5)
  assert sum(len(set(row.scores)) > 1 for row in rows) > 25


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_batches_and_restarts_change_no_byte(size, tmp_path):
  """What is shown depends on the row and the vote alone."""
  whole = tmp_path / "whole"
  ask(first, whole, ROWS[:20], num_votes=3)
  path = tmp_path / "parts"
  ask(first, path, ROWS[:5], num_votes=3, batch_size=size)
  ask(first, path, ROWS[:20], num_votes=3, batch_size=size)
  assert path.read_bytes() == whole.read_bytes()


NAMED = ScoredRow("a", "", "s", 1, (0.0, 1.0, -1.0, 0.0, 2.0))


def test_votes_by_hand():
  count = lambda **options: judging.counted(NAMED, 3, **options)
  assert count().scores == (2, 1, 2)  # the unread one for the last answer
  np.testing.assert_allclose(
      count(unread="shared").scores, [2 + 1 / 3, 1 + 1 / 3, 1 + 1 / 3]
  )
  assert count(unread="dropped") is None
  assert count(unread="dropped", num_votes=2).scores == (1, 1, 0)
  assert count()[:4] == NAMED[:4]
  assert judging.unread_share([NAMED]) == 0.2
  assert judging.unread_share([]) == 0


def test_an_unread_choice_of_four_is_worth_a_quarter():
  row = judging.counted(
      ScoredRow("a", "", "s", 1, (-1.0,)), 4, unread="shared"
  )
  assert row.scores == (0.25,) * 4  # best of four: 1 / 4


def test_half_of_the_votes_is_not_enough():
  votes = lambda *said: judging.counted(
      ScoredRow("a", "", "s", 1, tuple(map(float, said))), 2
  ).scores
  assert votes(0, 1) == (1, 1)  # a tie, which is wrong
  assert votes(0, 0, -1) == (2, 1) and votes(0, -1) == (1, 1)


def test_judgements_that_could_not_be_read(tmp_path):
  rows = ask(silent, tmp_path / "a", num_votes=2)
  assert abs(judging.unread_share(rows) - 1 / 3) < 0.08


def test_what_a_judge_is_shown_besides(tmp_path):
  seen = []

  def judge(prompts, answers, *, meta):
    seen.extend(meta)
    return first(prompts, answers, meta=meta)

  row = ROWS[0]._replace(meta={"image": "x.png"})
  ask(judge, tmp_path / "a", [row])
  assert seen == [{"image": "x.png"}]


def test_names_bad_arguments(tmp_path, no_jaxtyping):
  with pytest.raises(ValueError, match=r"ballots: num_votes must be in \[1"):
    list(judging.ballots(ROWS, num_votes=0))
  with pytest.raises(ValueError, match="unread must be one of wrong, shared"):
    judging.counted(NAMED, 3, unread="x")
  said = lambda value: lambda prompts, answers, meta: [value] * len(prompts)
  for value in (3, -1, "A"):
    with pytest.raises(ValueError, match="row '0': .*one of 3 answers"):
      ask(said(value), tmp_path / f"{value}")
  with pytest.raises(ValueError, match="the judge gave 0 answers to 32"):
    ask(lambda *_, meta: [], tmp_path / "none")
