"""Scores of rows, kept as they come: a run that was killed goes on."""

import json
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rewardjax.core import checks
from rewardjax.types import EvalRow, ScoredRow

# (prompts, completions, *, meta) -> one score per pair, as TRL calls it.
Scorer = Callable[..., Any]


def score_rows(
    scorer: Scorer,
    rows: Iterable[EvalRow],
    path: str | os.PathLike,
    *,
    batch_size: int = 32,
) -> Iterator[ScoredRow]:
  """Scores rows and appends each to a file of JSON lines once it is complete.

  The file has the rows in their order, so that a run that was killed and one
  that was not leave the same bytes; a line cut short is written again. A
  batch holds texts of several rows: for a scorer whose scores depend on what
  else is in a batch, the batch size matters, for others it does not.

  Args:
    scorer: `scorer(prompts, completions, meta=metas) -> scores`, one finite
      number per pair, higher is better; `metas` are those of the rows.
    rows: in the same order at every start.
    path: of the file; what is in it is not scored again.
    batch_size: texts per call; the last call has fewer.

  Yields:
    Every row, those found in the file as well, one line of it at a time.

  Raises:
    ValueError: naming the row, for a score that is none, or where the file
      holds the scores of other rows.
  """
  checks.at_least("score_rows", 1, batch_size=batch_size)
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  _cut_last_line(path)
  rows = iter(rows)
  if path.exists():
    for found in read_scores(path):
      expected = next(rows, None)
      if expected is None or not _same(found, expected):
        raise ValueError(
            f"{path}: holds row {found.id!r}, where the data have "
            f"{expected.id if expected else None!r}: scores of other data."
        )
      yield found
  with open(path, "a", encoding="utf-8") as file:
    for row in _scored(scorer, rows, batch_size):
      file.write(json.dumps(row._asdict(), ensure_ascii=False) + "\n")
      file.flush()
      yield row


def _same(found: ScoredRow, row: EvalRow) -> bool:
  return (
      found[:4] == (row.id, row.group, row.subset, row.num_correct)
      and len(found.scores) == len(row.texts)
  )


def _scored(scorer, rows, batch_size) -> Iterator[ScoredRow]:
  """Rows in order, from calls of `batch_size` texts across rows."""
  waiting, scores, texts = [], [], []

  def ready():
    while waiting and len(scores) >= len(waiting[0].texts):
      row = waiting.pop(0)
      size = len(row.texts)
      yield ScoredRow(
          row.id, row.group, row.subset, row.num_correct, tuple(scores[:size])
      )
      del scores[:size]

  for row in rows:
    waiting.append(row)
    texts += [(row, text) for text in row.texts]
    while len(texts) >= batch_size:
      scores += call(scorer, texts[:batch_size])
      del texts[:batch_size]
    yield from ready()
  if texts:
    scores += call(scorer, texts)
  yield from ready()


def call(scorer: Scorer, pairs: list[tuple[EvalRow, str]]) -> list[float]:
  """One finite score for each row and text.

  Raises:
    ValueError: naming the row, for anything else.
  """
  prompts = [row.prompt for row, _ in pairs]
  metas = [dict(row.meta) for row, _ in pairs]
  found = list(scorer(prompts, [text for _, text in pairs], meta=metas))
  if len(found) != len(pairs):
    raise ValueError(
        f"row {pairs[0][0].id!r}: the scorer gave {len(found)} scores for "
        f"{len(pairs)} texts."
    )
  return [_number(row, score) for (row, _), score in zip(pairs, found)]


def _number(row, score) -> float:
  try:
    # .item: of an array with one entry, whatever its shape.
    score = float(score.item() if hasattr(score, "item") else score)
    if math.isfinite(score):
      return score
  except (TypeError, ValueError):
    pass
  raise ValueError(
      f"row {row.id!r}: the scorer must give finite numbers, got {score!r:.80}."
  )


def read_scores(path: str | os.PathLike) -> Iterator[ScoredRow]:
  """The rows of a file of `score_rows`.

  Raises:
    ValueError: naming file and line, for a line that is no such row.
  """
  with open(path, encoding="utf-8") as file:
    for number, line in enumerate(file, 1):
      try:
        row = ScoredRow(**json.loads(line))
        yield row._replace(scores=tuple(map(float, row.scores)))
      except (ValueError, TypeError) as error:
        raise ValueError(
            f"{os.fspath(path)}:{number}: no row of scores: {line[:40]!r}."
        ) from error


def _cut_last_line(path: pathlib.Path) -> None:
  """Removes what stands after the last line end: a write that was cut."""
  if not path.exists():
    return
  with open(path, "rb+") as file:
    end = file.seek(0, os.SEEK_END)
    kept = end
    while kept:
      start = max(0, kept - 65536)
      file.seek(start)
      found = file.read(kept - start).rfind(b"\n")
      if found >= 0:
        kept = start + found + 1
        break
      kept = start
    if kept < end:
      file.truncate(kept)
