"""What `experiments.evaluate_rewards` makes of the votes of a judge."""

from collections.abc import Sequence

from experiments.evaluate_options import Options
from rewardjax.data.benchmarks import judging
from rewardjax.diagnostics.benchmarks import arrays
from rewardjax.types import ScoredRow


def tables(
    options: Options, rows: Sequence[ScoredRow], sizes: Sequence[int]
) -> arrays.Tables:
  """The benchmark's tables by all votes, and its overall row by fewer.

  Args:
    options: of the command.
    rows: the answers that were named.
    sizes: the number of answers of each row.

  Raises:
    ValueError: if every row was dropped.
  """
  by_votes = {}
  for votes in range(1, options.votes + 1, 2):
    found = _count(options, rows, sizes, votes)
    (overall,) = options.tables()(found)["overall"].values()
    by_votes[str(votes)] = {**overall, "rows": len(found)}
  found = options.tables()(_count(options, rows, sizes, options.votes))
  for row in found["overall"].values():
    row["unread votes"] = judging.unread_share(rows)
  return {**found, "votes": by_votes}


def _count(options, rows, sizes, votes):
  counted = [
      judging.counted(row, size, unread=options.unread, num_votes=votes)
      for row, size in zip(rows, sizes)
  ]
  kept = [row for row in counted if row is not None]
  if not kept:
    raise ValueError("every row was dropped: no judgement could be read.")
  return kept
