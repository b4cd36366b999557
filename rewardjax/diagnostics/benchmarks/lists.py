"""Tables of benchmarks with one or several right answers among many."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.diagnostics import scoring, sections
from rewardjax.diagnostics.benchmarks import arrays
from rewardjax.diagnostics.benchmarks.arrays import Tables
from rewardjax.types import ScoredRow


def _ties(rows) -> sections.TiesScore:
  """Rows "ref:7" and "tied:7" of each prompt, side by side."""
  prompts = sorted({row.group.partition(":")[2] for row in rows})
  place = {prompt: i for i, prompt in enumerate(prompts)}
  margins = jax.jit(scoring.margins)(*arrays.padded(rows))
  spread, gap = map(np.asarray, margins)
  values = {
      name: (np.zeros((2, len(prompts))), np.zeros(len(prompts), bool))
      for name in ("ref", "tied")
  }
  for row, d, g in zip(rows, spread, gap):
    kind, _, prompt = row.group.partition(":")
    found, mask = values[kind]
    found[:, place[prompt]] = g, d
    mask[place[prompt]] = True
  (reference, has_reference), (tied, has_tied) = values.values()
  return jax.jit(sections.ties_score)(*map(
      jnp.asarray, (reference[0], tied[0], tied[1], has_reference, has_tied)
  ))


@arrays.exactly
def rewardbench2(rows: Sequence[ScoredRow]) -> Tables:
  """Best of four on five subsets, Ties by its own score, their plain mean.

  References:
    "RewardBench 2: Advancing Reward Model Evaluation".
  """
  ties = [row for row in rows if row.subset == "Ties"]
  others = [row for row in rows if row.subset != "Ties"]
  subsets = {}
  if others:
    best = jax.jit(scoring.best_of_k_correct)(*arrays.padded(others))
    subsets = arrays.means(best, [row.subset for row in others])
  tables = {"overall": {}, "subsets": subsets}
  if ties:
    parts = {k: float(v) for k, v in _ties(ties)._asdict().items()}
    subsets["Ties"] = {"score": parts["score"], "rows": len(ties)}
    tables["ties"] = {name: {"score": x} for name, x in parts.items()}
  score = arrays.mean({name: x["score"] for name, x in subsets.items()})
  tables["overall"]["RewardBench 2"] = {"score": score}
  return tables


@jax.jit
def _columns(*padded):
  return {
      "score": scoring.separated(*padded),
      "with ties": scoring.separated(*padded, ties="loose"),
      "MRR": scoring.reciprocal_rank(*padded),
  }


@arrays.exactly
def rewardmath(rows: Sequence[ScoredRow]) -> Tables:
  """Accuracy of one chosen against all rejected solutions, and MRR.

  Args:
    rows: one score for each solution.

  Raises:
    ValueError: naming the problem, unless it has one chosen solution and at
      least one rejected one.

  References:
    "Evaluating Robustness of Reward Models for Mathematical Reasoning".
  """
  problems = []
  for name, found in arrays.grouped(rows, lambda row: row.group).items():
    found = sorted(found, key=lambda row: -row.num_correct)
    right = sum(row.num_correct for row in found)
    if right != 1 or len(found) < 2:
      raise ValueError(
          f"problem {name!r}: expected one chosen and some rejected solutions, "
          f"got {right} and {len(found) - right}."
      )
    scores = tuple(score for row in found for score in row.scores)
    problems.append(found[0]._replace(scores=scores))
  return _one_against_many(problems)


@arrays.exactly
def rewardmath_pairs(rows: Sequence[ScoredRow]) -> Tables:
  """The same of the chosen solution and one rejected at a time.

  A problem is right if every comparison was won; MRR is of 1 + comparisons
  that were not.

  Args:
    rows: scores of the chosen and the rejected solution, or votes for them.

  References:
    As `rewardmath`; its released code ranks by "wins + 1".
  """
  problems = []
  for found in arrays.grouped(rows, lambda row: row.group).values():
    lost_by = [row.scores[1] - row.scores[0] for row in found]
    problems.append(found[0]._replace(scores=(0.0, *lost_by)))
  return _one_against_many(problems)


def _one_against_many(problems: Sequence[ScoredRow]) -> Tables:
  """Of rows whose first score is that of the chosen solution."""
  columns = jax.device_get(_columns(*arrays.padded(problems)))
  subjects = np.array([problem.subset for problem in problems])
  part = lambda kept: {
      **{name: float(np.mean(x[kept])) for name, x in columns.items()},
      "problems": int(np.sum(kept)),
  }
  return {
      "overall": {"RewardMATH": part(subjects == subjects)},
      "subjects": {
          str(name): part(subjects == name) for name in dict.fromkeys(subjects)
      },
  }
