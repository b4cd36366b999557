"""Rows of different lengths as arrays, and means over parts of them."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.types import ScoredRow

Tables = dict[str, dict[str, dict[str, float]]]


def exactly(function: Callable) -> Callable:
  """Runs a report in float64: scores that differ must not become equal."""

  def call(*args, **kwargs):
    with jax.enable_x64(True):
      return function(*args, **kwargs)

  call.__doc__, call.__name__ = function.__doc__, function.__name__
  return call


def padded(rows: Sequence[ScoredRow]):
  """Scores [R, K], number of right ones [R], and the mask [R, K]."""
  width = max((len(row.scores) for row in rows), default=1)
  scores = np.zeros((len(rows), width))
  mask = np.zeros(scores.shape, bool)
  for i, row in enumerate(rows):
    scores[i, : len(row.scores)] = row.scores
    mask[i, : len(row.scores)] = True
  right = np.array([row.num_correct for row in rows], np.int32)
  return jnp.asarray(scores), jnp.asarray(right), jnp.asarray(mask)


def grouped(
    rows: Iterable[ScoredRow], key: Callable[[ScoredRow], Hashable]
) -> dict:
  """Rows by key, in the order in which the keys first appear."""
  found: dict = {}
  for row in rows:
    found.setdefault(key(row), []).append(row)
  return found


def means(values, names: Sequence[str]) -> dict[str, dict[str, float]]:
  """Mean score and number of rows of each name."""
  found: dict = {}
  for name, value in zip(names, np.asarray(values, np.float64)):
    found.setdefault(name, []).append(value)
  return {
      name: {"score": float(np.mean(x)), "rows": len(x)}
      for name, x in found.items()
  }


def mean(scores: Mapping[str, float]) -> float:
  """The plain mean of the values; 0 without any."""
  return float(np.mean(list(scores.values()))) if scores else 0.0
