"""Right or wrong, from the scores of answers some of which are known right.

A row holds K scores of answers to one prompt, the right ones first: index
below `num_correct`. Higher is better; a score of NaN never wins. Results are
per row; their mean is the accuracy.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking
from rewardjax.diagnostics.comparisons import Ties, pairwise_accuracy


class _Sides(NamedTuple):
  """Scores of both kinds, others at -inf; which entries are which."""

  right: Float[Array, "*batch K"]
  wrong: Float[Array, "*batch K"]
  is_right: Bool[Array, "*batch K"]
  is_wrong: Bool[Array, "*batch K"]


def _sides(where, scores, num_correct, mask) -> _Sides:
  checks.same_shape(where, scores=scores, mask=mask)
  checks.same_shape(where, num_correct=num_correct, rows=scores[..., 0])
  mask = jnp.ones(scores.shape, bool) if mask is None else mask
  places = jax.lax.broadcasted_iota(
      num_correct.dtype, scores.shape, scores.ndim - 1
  )
  right = mask & (places < num_correct[..., None])
  # NaN is never highest, and lowest among the right ones.
  scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
  fill = lambda kind: masking.fill_masked(scores, kind, -jnp.inf)
  wrong = mask & ~right
  return _Sides(fill(right), fill(wrong), right, wrong)


def _highest(x):
  return jnp.max(x, axis=-1, initial=-jnp.inf)


def _lowest_right(sides):
  return jnp.min(
      jnp.where(sides.is_right, sides.right, jnp.inf), -1, initial=jnp.inf
  )


def best_of_k_correct(
    scores: Float[Array, "*batch K"],
    num_correct: Int[Array, "*batch"],
    mask: Bool[Array, "*batch K"] | None = None,
) -> Float[Array, "*batch"]:
  """The share of right answers among those with the highest score.

  With one right answer: 1 / (number of highest ones) if it is among them,
  else 0; equal scores throughout give 1 / K.

  Args:
    scores: right answers first.
    num_correct: how many are right.
    mask: True for answers that exist; None means all.

  Returns:
    Float32 or wider; 0 for a row without answers.

  Raises:
    ValueError: if shapes do not fit.

  References:
    "RewardBench 2: Advancing Reward Model Evaluation".
  """
  sides = _sides("best_of_k_correct", scores, num_correct, mask)
  most = jnp.maximum(_highest(sides.right), _highest(sides.wrong))[..., None]
  count = lambda x, kind: jnp.sum(
      kind & (x == most), axis=-1, dtype=sides.right.dtype
  )
  right = count(sides.right, sides.is_right)
  return masking.safe_divide(right, right + count(sides.wrong, sides.is_wrong))


def separated(
    scores: Float[Array, "*batch K"],
    num_correct: Int[Array, "*batch"],
    mask: Bool[Array, "*batch K"] | None = None,
    *,
    ties: Ties = "strict",
) -> Float[Array, "*batch"]:
  """1 where every right answer scores higher than every wrong one.

  Args: as `best_of_k_correct`; `ties` as `pairwise_accuracy`, between the
    lowest right and the highest wrong one.

  Returns:
    Float32 or wider.

  Raises:
    ValueError: if shapes do not fit, or `ties` is unknown.

  References:
    "Evaluating Robustness of Reward Models for Mathematical Reasoning"
      (RewardMATH, accuracy).
  """
  sides = _sides("separated", scores, num_correct, mask)
  low, high = _lowest_right(sides), _highest(sides.wrong)
  return pairwise_accuracy(low, high, ties=ties)


def reciprocal_rank(
    scores: Float[Array, "*batch K"],
    num_correct: Int[Array, "*batch"],
    mask: Bool[Array, "*batch K"] | None = None,
) -> Float[Array, "*batch"]:
  """1 / rank of the best right answer, behind wrong ones of equal score.

  Its mean over rows is the MRR; scores drawn at random give the mean of
  1 / rank over K ranks.

  Args: as `best_of_k_correct`.

  Returns:
    Float32 or wider; 0 for a row without a right answer.

  Raises:
    ValueError: if shapes do not fit.

  References:
    "Evaluating Robustness of Reward Models for Mathematical Reasoning"
      (RewardMATH).
  """
  sides = _sides("reciprocal_rank", scores, num_correct, mask)
  best = _highest(sides.right)[..., None]
  before = sides.is_wrong & (sides.wrong >= best)
  rank = 1 + jnp.sum(before, axis=-1, dtype=best.dtype)
  return jnp.where(jnp.any(sides.is_right, axis=-1), 1 / rank, 0.0)


class Margins(NamedTuple):
  """How far right answers lie from each other, and from the wrong ones.

  spread: highest less lowest right one, >= 0.
  gap: lowest right less highest wrong one; positive is right.
  """

  spread: Float[Array, "*batch"]
  gap: Float[Array, "*batch"]


def margins(
    scores: Float[Array, "*batch K"],
    num_correct: Int[Array, "*batch"],
    mask: Bool[Array, "*batch K"] | None = None,
) -> Margins:
  """`Margins` of each row, which has at least one answer of each kind.

  Args: as `best_of_k_correct`.

  Raises:
    ValueError: if shapes do not fit.
  """
  sides = _sides("margins", scores, num_correct, mask)
  low = _lowest_right(sides)
  return Margins(_highest(sides.right) - low, low - _highest(sides.wrong))
