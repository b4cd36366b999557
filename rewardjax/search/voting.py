"""Votes of G samples of one prompt on its answer; G is the last axis.

Answers are ids >= 0, equal where the answers are. -1 is no answer: it has no
vote, and it is the result where nobody votes.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


class Vote(NamedTuple):
  """The winner of each group and its share of the votes cast (0 if none)."""

  answer: Int[Array, "*batch"]
  share: Float[Array, "*batch"]


def majority_vote(
    answers: Int[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
) -> Vote:
  """The answer with the most votes; of equal ones the lowest id.

  Args:
    answers: ids; negative ones are no votes.
    mask: True for samples that may vote; None means all.

  Raises:
    ValueError: if shapes differ.

  References:
    Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in
      Language Models", 2022.
  """
  checks.same_shape("majority_vote", answers=answers, mask=mask)
  return weighted_vote(answers, jnp.ones(answers.shape), mask)


def weighted_vote(
    answers: Int[Array, "*batch G"],
    weights: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
) -> Vote:
  """The answer whose voters weigh most; of equal ones the lowest id.

  Equal weights make it `majority_vote`: sums that differ by rounding only are
  equal. Number the answers in the order in which they appear and the first of
  equal ones wins.

  Args:
    answers: ids; negative ones are no votes. Answers that could not be read
      may share an id of their own: one that is never right.
    weights: >= 0, such as the reward of each sample; one that is negative or
      NaN counts as 0. Where all are 0 the lowest id wins.
    mask: True for samples that may vote; None means all.

  Returns:
    The winner, and its share of the weight cast.

  Gradient: flows through `weights` into the share.

  Raises:
    ValueError: if shapes differ.

  References:
    "Rethinking Reward Models for Multi-Domain Test-Time Scaling".
  """
  where = "weighted_vote"
  checks.same_shape(where, answers=answers, weights=weights, mask=mask)
  votes = answers >= 0 if mask is None else mask & (answers >= 0)
  # NaN > 0 is False.
  weights = masking.fill_masked(weights, votes & (weights > 0))
  equal = answers[..., :, None] == answers[..., None, :]
  cast = jnp.where(equal, weights[..., None, :], 0.0)
  totals = jnp.where(votes, jnp.sum(cast, axis=-1), -1.0)
  most = jnp.max(totals, axis=-1, keepdims=True, initial=-1)
  # Sums of the same weights differ with the places of the zeros among them.
  rounding = 2 * answers.shape[-1] * jnp.finfo(totals.dtype).eps
  winning = votes & (totals >= most * (1 - rounding))
  largest = jnp.iinfo(answers.dtype).max
  lowest = jnp.min(
      jnp.where(winning, answers, largest), axis=-1, initial=largest
  )
  answer = jnp.where(jnp.any(votes, axis=-1), lowest, -1)
  share = jnp.maximum(most[..., 0], 0.0)
  return Vote(answer, masking.safe_divide(share, jnp.sum(weights, axis=-1)))


def filtered_vote(
    answers: Int[Array, "*batch G"],
    traces: Float[Array, "*batch G T"],
    mask: Bool[Array, "*batch G T"] | None = None,
    *,
    threshold: Scalar,
    skip: int = 5,
) -> Vote:
  """The majority among samples whose trace never falls below a threshold.

  If all fall below, all vote.

  Args:
    answers: ids; negative ones are no votes.
    traces: a score of every prefix, such as its cosine to a goal.
    mask: True for real tokens; None means all.
    threshold: on scores; NaN is below.
    skip: first tokens that are not looked at (static).

  Gradient: none.

  Raises:
    ValueError: if shapes differ or `skip` is negative.

  References:
    Nath et al., "Learning Goal-Conditioned Representations for Language
      Reward Models", 2024.
  """
  where = "filtered_vote"
  checks.at_least(where, 0, skip=skip)
  checks.same_shape(where, traces=traces, mask=mask)
  checks.same_shape(where, answers=answers, samples=traces[..., 0])
  low = ~(traces >= threshold)
  low = low if mask is None else low & mask
  votes = answers >= 0
  kept = votes & ~jnp.any(low[..., skip:], axis=-1)
  some = jnp.any(kept, axis=-1, keepdims=True)
  return majority_vote(answers, jnp.where(some, kept, votes))
