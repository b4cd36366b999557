"""Right or wrong, from the scores of answers some of which are known right.

A row holds K scores of answers to one prompt, the right ones first: index
below `num_correct`. Higher is better; a score of NaN never wins. Results are
per row; their mean is the accuracy.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking
from rewardjax.core.masking import Mean

Ties = Literal["strict", "half", "loose"]
_CREDIT = {"strict": 0.0, "half": 0.5, "loose": 1.0}


def _credit(chosen, rejected, ties):
  equal = jnp.where(chosen == rejected, _CREDIT[ties], 0.0)
  return jnp.where(chosen > rejected, 1.0, equal)


def pairwise_accuracy(
    chosen: Float[Array, "*batch"],
    rejected: Float[Array, "*batch"],
    *,
    ties: Ties = "strict",
) -> Float[Array, "*batch"]:
  """1 where the chosen answer scores higher, 0 where lower.

  Args:
    chosen: scores of the better answers.
    rejected: scores of the others.
    ties: what equal scores are worth: 0, 0.5 or 1 (static). With "strict" a
      model that gives all answers one score is wrong throughout, with "half"
      it is as good as a coin.

  Returns:
    Float32 or wider.

  Raises:
    ValueError: if shapes differ, or `ties` is unknown.
  """
  where = "pairwise_accuracy"
  checks.one_of(where, get_args(Ties), ties=ties)
  checks.same_shape(where, chosen=chosen, rejected=rejected)
  return _credit(*map(masking.as_accumulator, (chosen, rejected)), ties)


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
  checks.one_of("separated", get_args(Ties), ties=ties)
  sides = _sides("separated", scores, num_correct, mask)
  return _credit(_lowest_right(sides), _highest(sides.wrong), ties)


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


def vote_correct(
    correct: Bool[Array, "*batch K"],
    mask: Bool[Array, "*batch K"] | None = None,
    *,
    unread_is_wrong: bool = True,
) -> Float[Array, "*batch"]:
  """1 where more than half of K judgements of a row are right.

  Right with probability above 1/2 each, more judgements help; below, they
  harm. An even number can tie, which is wrong.

  Args:
    correct: of each judgement, best in random order of the answers: a judge
      that always names the first is right half of the time.
    mask: True for judgements that could be read; None means all.
    unread_is_wrong: whether the others count among the K (static). Left out
      they hide how often a judge gives no answer.

  Returns:
    Float32; 0 for a row without judgements.

  Raises:
    ValueError: if shapes differ.

  References:
    "VLRewardBench: A Challenging Benchmark for Vision-Language Generative
      Reward Models".
  """
  checks.same_shape("vote_correct", correct=correct, mask=mask)
  mask = jnp.ones(correct.shape, bool) if mask is None else mask
  right = jnp.sum(correct & mask, axis=-1)
  size = correct.shape[-1] if unread_is_wrong else jnp.sum(mask, axis=-1)
  return (2 * right > size).astype(jnp.float32)


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


def acc_plus(
    correct: Float[Array, " N"],
    groups: Int[Array, " N"],
    mask: Bool[Array, " N"] | None = None,
    *,
    num_groups: int,
) -> Mean:
  """The share of groups of which every item is right.

  Never above the accuracy of groups of one size, and equal to it if each
  group has one item.

  Args:
    correct: 1 for right items; anything less is not right.
    groups: of each item, 0 .. num_groups - 1, such as its image.
    mask: True for real items; None means all.
    num_groups: static; a group without an item does not count.

  Returns:
    Groups that are right, of all groups with an item.

  Raises:
    ValueError: if shapes differ.

  References:
    "MM-RLHF: The Next Step Forward in Multimodal LLM Alignment" (ACC+).
  """
  checks.same_shape("acc_plus", correct=correct, groups=groups, mask=mask)
  mask = jnp.ones(correct.shape, bool) if mask is None else mask
  count = lambda x: jax.ops.segment_sum(
      x.astype(jnp.float32), groups, num_groups
  )
  items, wrong = count(mask), count(mask & ~(correct >= 1))
  return Mean.of((wrong == 0).astype(jnp.float32), items > 0)


class TieCalibrated(NamedTuple):
  """The best accuracy over thresholds, and the least threshold that has it."""

  accuracy: Float[Array, ""]
  threshold: Float[Array, ""]


def tie_calibrated_accuracy(
    labels: Int[Array, " N"],
    margins: Float[Array, " N"],
    mask: Bool[Array, " N"] | None = None,
) -> TieCalibrated:
  """max over e >= 0 of the accuracy of sign(m) where |m| > e, else a tie.

  Args:
    labels: 1, -1, or 0 where people see no difference.
    margins: m, score of the first less that of the second.
    mask: True for real comparisons; None means all.

  Returns:
    Float32 or wider; 0 and 0 without comparisons. Calibrated on the rows it
    is measured on: compare models, do not quote it as an accuracy to expect.

  Raises:
    ValueError: if shapes differ.

  References:
    Deutsch et al., "Ties Matter: Meta-Evaluating Modern Metrics with
      Pairwise Accuracy and Tie Calibration", 2023, arXiv:2305.14324.
    "Improving Video Generation with Human Feedback" (VideoReward).
  """
  where = "tie_calibrated_accuracy"
  checks.same_shape(where, labels=labels, margins=margins, mask=mask)
  mask = jnp.ones(margins.shape, bool) if mask is None else mask
  m = masking.fill_masked(margins, mask)
  size = jnp.where(mask, jnp.abs(m), jnp.inf)
  order = jnp.argsort(size)
  size, known = size[order], mask[order]
  total = lambda x: jnp.concatenate(
      [jnp.zeros(1, m.dtype), jnp.cumsum(x[order] & known, dtype=m.dtype)]
  )
  tied, signed = total(labels == 0), total(jnp.sign(m) == labels)
  # Of k smallest called ties: those that are, and the right signs of the rest.
  right = tied + signed[-1] - signed
  thresholds = jnp.concatenate([jnp.zeros(1, m.dtype), size])
  # Equal sizes are all ties or none.
  after = jnp.concatenate([size, jnp.full(1, jnp.inf, size.dtype)])
  real = (thresholds < after) & (thresholds < jnp.inf)
  right = jnp.where(real.at[0].set(True), right, -1)
  best = jnp.argmax(right)
  share = masking.safe_divide(right[best], jnp.sum(mask, dtype=m.dtype))
  return TieCalibrated(share, thresholds[best])
