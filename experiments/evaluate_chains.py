"""What `experiments.evaluate_rewards` makes of the scores of chains of steps.

One score for a chain, and which of several chains it chooses: the tables of
Multi-RM, by its published protocol.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.data.benchmarks import answers
from rewardjax.data.benchmarks.answers import Question
from rewardjax.diagnostics import overoptimization
from rewardjax.diagnostics.benchmarks import arrays
from rewardjax.rewards.steps import Aggregation, aggregate_steps
from rewardjax.search import curves
from rewardjax.types import ScoredRow

SIZES = (1, 2, 4, 8, 16)
NUM_RUNS = 100
_RULES = ("best of N", "weighted vote", "majority vote", "pass@N")
_EXACT = ", all subsets"


def whole(
    rows: Sequence[ScoredRow],
    lengths: Iterable[Sequence[int]],
    how: Aggregation,
) -> list[ScoredRow]:
  """Rows with one score for each chain in place of those of its steps.

  Args:
    rows: the scores of all steps, chain by chain.
    lengths: how many steps each chain of each row has.
    how: see `aggregate_steps`. A step whose score is NaN has 0.5, and a chain
      without steps too.
  """
  counts, chains = [], []
  for row, sizes in zip(rows, lengths, strict=True):
    ends = np.cumsum(sizes)
    chains += np.split(np.asarray(row.scores, np.float64), ends[:-1])
    counts.append(len(ends))
  width = max(map(len, chains), default=0)
  scores = np.zeros((len(chains), max(width, 1)))
  mask = np.zeros(scores.shape, bool)
  for i, chain in enumerate(chains):
    scores[i, : len(chain)] = np.where(np.isnan(chain), 0.5, chain)
    mask[i, : len(chain)] = True
  with jax.enable_x64(True):
    found = aggregate_steps(jnp.asarray(scores), jnp.asarray(mask), how=how)
  parts = np.split(np.asarray(found), np.cumsum(counts)[:-1])
  return [
      row._replace(scores=tuple(part.tolist()))
      for row, part in zip(rows, parts)
  ]


def questions(files: Iterable[str]) -> Iterator[Question]:
  """Of all files, in the order of `answers.multi_rm`."""
  for path in files:
    yield from answers.questions(path)


def given(
    files: Sequence[str], rewards: Sequence[str], how: Aggregation
) -> list[ScoredRow]:
  """One score for each chain, from rewards that were computed elsewhere.

  Args:
    files: of questions.
    rewards: of their chains, a file for each of those.
    how: see `whole`.

  Raises:
    ValueError: naming file, row and field; or question and chain, if one has
      no rewards.
  """
  rows, lengths = [], []
  for path, source in zip(files, rewards, strict=True):
    known = dict(answers.multi_rm_rewards(source))
    for x in answers.questions(path):
      found = [known.get(x.name, {}).get(name) for name in x.ids]
      if None in found:
        raise ValueError(
            f"{source}: no rewards of q_id {x.name!r}, cot_id "
            f"{x.ids[found.index(None)]!r}, which {path} has."
        )
      scores = tuple(reward for chain in found for reward in chain)
      name = f"{x.domain}/{x.name}"
      rows.append(ScoredRow(name, "", x.domain, 0, scores))
      lengths.append([len(chain) for chain in found])
  return whole(rows, lengths, how)


def drawn(name: str, count: int, run: int, *, seed: int) -> np.ndarray:
  """The order in which samples of a question are drawn in one run.

  The first N of it are those that the released code of Multi-RM draws, whose
  own seed is 42.
  """
  text = f"{seed}_{run}_{name}".encode()
  number = int(hashlib.md5(text, usedforsecurity=False).hexdigest()[:8], 16)
  return np.random.RandomState(number).permutation(count)


def _numbered(rows, found):
  """Ids of answers, scores, ids of the right answers, and the mask."""
  shape = len(rows), max(len(row.scores) for row in rows)
  said, scores = np.zeros(shape, np.int32), np.zeros(shape)
  mask, gold = np.zeros(shape, bool), np.zeros(len(rows), np.int32)
  for i, (row, x) in enumerate(zip(rows, found, strict=True)):
    names = {name: j for j, name in enumerate(dict.fromkeys(x.answers))}
    size = len(x.answers)
    said[i, :size] = [names[name] for name in x.answers]
    scores[i, :size], mask[i, :size] = row.scores, True
    gold[i] = names.get(x.gold, -1)
  return tuple(map(jnp.asarray, (said, scores, gold, mask)))


@jax.jit
def _exactly(scores, right, mask, sizes):
  """Best of N by scores, and whether any is right, over all subsets."""
  def one(scores, right, mask):
    n = jnp.minimum(sizes, jnp.sum(mask))
    curve = lambda by: overoptimization.best_of_n_curve(by, right, n, mask)
    return curve(scores), curve(right)

  return jax.vmap(one)(scores, right, mask)


@arrays.exactly
def multi_rm(
    rows: Sequence[ScoredRow],
    *,
    files: Iterable[str],
    seed: int = 0,
    num_runs: int = NUM_RUNS,
) -> arrays.Tables:
  """How often the chosen answer is right, for each number of samples.

  The share of questions of each domain, and its plain mean over domains: of
  the answer with the highest score, of those voted for with and without
  scores, and of any right answer; a mean over `num_runs` draws. What could
  not be read is one answer, which is never right. The weighted vote is left
  out where a score is negative.

  Args:
    rows: one score for each chain.
    files: of their questions.
    seed: of the draws, with run and question.
    num_runs: draws.

  References:
    "Rethinking Reward Models for Multi-Domain Test-Time Scaling" (its
      released code gives answers that could not be read no vote).
  """
  found = [x._replace(chains=(), prompt="") for x in questions(files)]
  said, scores, gold, mask = _numbered(rows, found)
  sizes = jnp.asarray(SIZES, jnp.int32)
  select = jax.jit(curves.ordered_selections)
  total = np.zeros((len(_RULES), len(rows), len(SIZES)))
  width = min(mask.shape[1], max(SIZES))
  for run in range(num_runs):
    order = np.tile(np.arange(width, dtype=np.int32), (len(rows), 1))
    for i, x in enumerate(found):
      taken = drawn(x.name, len(x.answers), run, seed=seed)[:width]
      order[i, : len(taken)] = taken
    total += np.stack(
        select(jnp.asarray(order), said, scores, gold, mask, sizes=sizes)
    )
  parts = dict(zip(_RULES, total / num_runs))
  if np.min(scores) < 0:
    del parts["weighted vote"]
  right = (said == gold[:, None]).astype(scores.dtype)
  for rule, part in zip(_RULES[::3], _exactly(scores, right, mask, sizes)):
    parts[rule + _EXACT] = np.asarray(part)
  return _by_domain(parts, np.array([x.domain for x in found]))


def _by_domain(parts, domains) -> arrays.Tables:
  names = list(dict.fromkeys(domains.tolist()))
  columns = lambda values: dict(zip(map(str, SIZES), values.tolist()))
  means = {
      rule: [np.mean(part[domains == name], axis=0) for name in names]
      for rule, part in parts.items()
  }
  tables = {
      "overall": {k: columns(np.mean(x, axis=0)) for k, x in means.items()}
  }
  for rule, found in means.items():
    if not rule.endswith(_EXACT):
      tables[rule] = {
          name: columns(x) | {"questions": int(np.sum(domains == name))}
          for name, x in zip(names, found)
      }
  return tables
