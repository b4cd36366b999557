"""Tables of public benchmarks, from the scores of their rows.

Each function takes `ScoredRow`s and returns `{table: {row: {column: number}}}`
with the benchmark's headline in the table "overall". The schemas of the rows
are those of `data.benchmarks`.
"""

from rewardjax.diagnostics.benchmarks import arrays, chains, lists, pairs

__all__ = ["arrays", "chains", "lists", "pairs"]
