"""Search over whole steps, guided by what a reward model says of each prefix.

Runs on the host: the callables may ask models. A step is any object, a path a
tuple of steps.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from rewardjax.core import checks

Path = tuple[Any, ...]


class Found(NamedTuple):
  """One path, the value of its last step, and whether it gives an answer."""

  path: Path
  value: float
  final: bool


def step_beam_search(
    key: Key[Array, ""],
    expand: Callable[[Any, Path, int], Sequence[Any]],
    value: Callable[[list[Path]], Sequence[float]],
    is_final: Callable[[Path], bool],
    *,
    num_beams: int,
    num_candidates: int,
    max_steps: int,
) -> list[Found]:
  """Keeps the best prefixes of a chain, step by step.

  Every open prefix is continued in `num_candidates` ways; the best
  `num_beams` of all continuations and of all finished paths go on. With one
  beam this is greedy search over steps, with as many beams as there are
  continuations it is exhaustive.

  Args:
    key: consumed.
    expand: `(key, path, n) -> at most n next steps`.
    value: of each of a list of paths, for its last step or as a whole; called
      once per step. Higher is better, NaN is worst.
    is_final: whether a path gives an answer.
    num_beams: prefixes kept.
    num_candidates: continuations of each.
    max_steps: of a path; longer ones stay without an answer.

  Returns:
    The beams, best first; of equal ones the one found first.

  Raises:
    ValueError: if a size is less than 1, or `value` gives another number of
      values than it was asked for.

  References:
    "Towards Hierarchical Multi-Step Reward Models" (greedy step search).
  """
  where = "step_beam_search"
  checks.at_least(
      where,
      1,
      num_beams=num_beams,
      num_candidates=num_candidates,
      max_steps=max_steps,
  )
  beams = [Found((), 0.0, False)]
  for _ in range(max_steps):
    grown = []
    for beam in beams:
      if not beam.final:
        key, draw = jax.random.split(key)
        steps = expand(draw, beam.path, num_candidates)
        grown += [(*beam.path, step) for step in steps]
    if not grown:
      break
    values = np.asarray(value(grown), np.float64)
    if values.shape != (len(grown),):
      raise ValueError(
          f"{where}: value must give {len(grown)} values, got shape "
          f"{values.shape}."
      )
    found = [beam for beam in beams if beam.final] + [
        Found(path, float(v), bool(is_final(path)))
        for path, v in zip(grown, np.where(np.isnan(values), -np.inf, values))
    ]
    beams = sorted(found, key=lambda x: -x.value)[:num_beams]
  return beams
