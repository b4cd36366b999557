"""Votes of G samples of one prompt on its answer; G is the last axis.

Answers are ids >= 0, equal where the answers are. -1 is no answer: it has no
vote, and it is the result where nobody votes.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks


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
  votes = answers >= 0 if mask is None else mask & (answers >= 0)
  equal = answers[..., :, None] == answers[..., None, :]
  counts = jnp.sum(equal & votes[..., None, :], axis=-1)
  counts = jnp.where(votes, counts, 0)
  most = jnp.max(counts, axis=-1, keepdims=True, initial=0)
  winning = votes & (counts == most)
  largest = jnp.iinfo(answers.dtype).max
  lowest = jnp.min(
      jnp.where(winning, answers, largest), axis=-1, initial=largest
  )
  cast = jnp.sum(votes, axis=-1)
  answer = jnp.where(cast > 0, lowest, -1)
  return Vote(answer, most[..., 0] / jnp.maximum(cast, 1))
