"""Right or wrong in comparisons of two answers; higher scores are better."""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking
from rewardjax.core.masking import Mean

Ties = Literal["strict", "half", "loose"]
_CREDIT = {"strict": 0.0, "half": 0.5, "loose": 1.0}


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
  chosen, rejected = map(masking.as_accumulator, (chosen, rejected))
  equal = jnp.where(chosen == rejected, _CREDIT[ties], 0.0)
  return jnp.where(chosen > rejected, 1.0, equal)


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
