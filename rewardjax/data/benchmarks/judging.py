"""Judges that name the best of several answers, as scores of those answers.

A judge is called `judge(prompts, answers, meta=metas)`, with a list of
answers for each prompt, and says for each which is best: its place, or None
where nothing could be read off what it wrote. Answers are shown in random
order: a judge that always names the first is right by chance only.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np

from rewardjax.core import checks
from rewardjax.data.benchmarks.scores import Scorer
from rewardjax.types import EvalRow, ScoredRow

# (prompts, answers, *, meta) -> the place of the best answer of each, or None.
Judge = Callable[..., Any]
Unread = Literal["wrong", "shared", "dropped"]
UNREAD = -1.0  # in the place of an answer


def order(row_id: str, vote: int, size: int, *, seed: int = 0) -> np.ndarray:
  """The places of the answers as they are shown; of each row and vote one."""
  source = [seed, vote, zlib.crc32(row_id.encode())]
  return np.random.default_rng(source).permutation(size)


def ballots(rows: Iterable[EvalRow], *, num_votes: int) -> Iterator[EvalRow]:
  """Rows for `score_rows` and `as_scorer`: a text for each vote.

  Raises:
    ValueError: if `num_votes` is less than 1.
  """
  checks.at_least("ballots", 1, num_votes=num_votes)
  texts = tuple(map(str, range(num_votes)))
  for row in rows:
    shown = {"id": row.id, "answers": row.texts, "meta": row.meta}
    yield row._replace(texts=texts, meta=shown)


def as_scorer(judge: Judge, *, seed: int = 0) -> Scorer:
  """A scorer of `ballots`: the place of the answer named, -1 for none.

  What is shown to the judge depends on the row and the number of the vote
  alone: no batch size and no restart changes it.

  Raises:
    ValueError: when called, naming the row, where a judge names no answer.
  """

  def scorer(prompts, votes, *, meta):
    orders = [
        order(m["id"], int(vote), len(m["answers"]), seed=seed)
        for m, vote in zip(meta, votes)
    ]
    shown = [[m["answers"][i] for i in o] for m, o in zip(meta, orders)]
    said = list(judge(prompts, shown, meta=[dict(m["meta"]) for m in meta]))
    if len(said) != len(prompts):
      raise ValueError(
          f"row {meta[0]['id']!r}: the judge gave {len(said)} answers to "
          f"{len(prompts)} questions."
      )
    return [_place(*x) for x in zip(said, orders, meta)]

  return scorer


def _place(said, order, meta) -> float:
  if said is None:
    return UNREAD
  if said not in range(len(order)):
    raise ValueError(
        f"row {meta['id']!r}: the judge must name one of {len(order)} answers, "
        f"from 0, or None, got {said!r}."
    )
  return float(order[int(said)])


def counted(
    row: ScoredRow,
    num_answers: int,
    *,
    unread: Unread = "wrong",
    num_votes: int | None = None,
) -> ScoredRow | None:
  """The votes for each answer, from the scores of `as_scorer`.

  Args:
    row: its scores are the answers named.
    num_answers: of the row.
    unread: a vote that could not be read counts for the last answer, which is
      a wrong one ("wrong"), is shared by all answers ("shared"), or the row is
      dropped. Dropping rows hides how often a judge gives no answer.
    num_votes: only the first ones; None means all.

  Returns:
    None where the row is dropped.

  Raises:
    ValueError: if `unread` is unknown.

  References:
    "VLRewardBench: A Challenging Benchmark for Vision-Language Generative
      Reward Models" (votes; its released code drops).
    "RewardBench 2: Advancing Reward Model Evaluation" (an unread answer is
      worth 1 / answers: "shared").
  """
  checks.one_of("counted", get_args(Unread), unread=unread)
  named = row.scores[:num_votes]
  votes = [float(named.count(float(i))) for i in range(num_answers)]
  lost = named.count(UNREAD)
  if lost and unread == "dropped":
    return None
  if unread == "wrong":
    votes[-1] += lost
  else:
    votes = [x + lost / num_answers for x in votes]
  return row._replace(scores=tuple(votes))


def unread_share(rows: Sequence[ScoredRow]) -> float:
  """The share of votes that could not be read; 0 without votes."""
  said = [score for row in rows for score in row.scores]
  return said.count(UNREAD) / len(said) if said else 0.0
