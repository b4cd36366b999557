"""Rewards that say little or nothing true: controls for a gain in accuracy.

A policy that also improves under these did not learn from the reward.

References:
  Wu et al., "Reasoning or Memorization? Unreliable Results of Reinforcement
    Learning Due to Data Contamination", 2025, arXiv:2507.10532.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from rewardjax.core import checks
from rewardjax.types import Reward, Scalar


def random_reward(
    key: Key[Array, ""],
    mask: Bool[Array, "*batch G"],
    *,
    chance: Scalar = 0.5,
) -> Reward:
  """1 with probability `chance`, whatever was answered; `key` is consumed.

  Args:
    mask: True for valid samples.
    chance: of a 1, the same for all.

  Raises:
    ValueError: if `chance` is no probability.
  """
  checks.probability("random_reward", chance=chance)
  drawn = jax.random.uniform(key, mask.shape) < chance
  return Reward(drawn.astype(jnp.float32), mask)


def inverted_reward(
    correct: Bool[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
) -> Reward:
  """1 for wrong answers, 0 for right ones."""
  checks.same_shape("inverted_reward", correct=correct, mask=mask)
  mask = jnp.ones(correct.shape, bool) if mask is None else mask
  return Reward((~correct).astype(jnp.float32), mask)


def format_reward(
    parsed: Bool[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
) -> Reward:
  """1 for any answer that can be read, right or wrong."""
  checks.same_shape("format_reward", parsed=parsed, mask=mask)
  mask = jnp.ones(parsed.shape, bool) if mask is None else mask
  return Reward(parsed.astype(jnp.float32), mask)


def wrong_majority_reward(
    answers: Int[Array, "*batch G"],
    truth: Int[Array, "*batch"],
    mask: Bool[Array, "*batch G"] | None = None,
) -> Reward:
  """1 for agreeing with the most frequent wrong answer of the group.

  Args:
    answers: an id per distinct answer.
    truth: id of the right one.
    mask: True for valid samples.

  Returns:
    0 throughout a group without a wrong answer. Of wrong answers that are
    equally frequent the lowest id counts.

  Raises:
    ValueError: if shapes do not fit.
  """
  where = "wrong_majority_reward"
  checks.same_shape(where, answers=answers, mask=mask)
  checks.same_shape(where, truth=truth, groups=answers[..., 0])
  mask = jnp.ones(answers.shape, bool) if mask is None else mask
  wrong = mask & (answers != truth[..., None])
  equal = answers[..., :, None] == answers[..., None, :]
  votes = jnp.sum(equal & wrong[..., None, :], axis=-1)
  votes = jnp.where(wrong, votes, 0)
  most = jnp.max(votes, axis=-1, keepdims=True)
  # Lowest id: the outcome must not depend on the order of the samples.
  highest = jnp.iinfo(answers.dtype).max
  first = wrong & (votes == most)
  label = jnp.min(jnp.where(first, answers, highest), axis=-1, keepdims=True)
  return Reward((wrong & (answers == label)).astype(jnp.float32), mask)
