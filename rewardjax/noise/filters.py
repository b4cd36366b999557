"""Which rows of preference data to leave out of training, never of a test."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def not_much_longer(
    chosen: Int[Array, "*batch"],
    rejected: Int[Array, "*batch"],
    *,
    max_ratio: Scalar,
) -> Bool[Array, "*batch"]:
  """False where the chosen answer is more than `max_ratio` times as long.

  Where longer answers are mostly preferred a model learns to count; what is
  kept is what length does not explain. The other way round nothing is
  dropped: a chosen answer may be as short as it likes.

  Args:
    chosen: lengths of the chosen answers, in tokens.
    rejected: of the rejected ones.
    max_ratio: positive.

  Raises:
    ValueError: if shapes differ, or `max_ratio` is not positive.

  References:
    "InternLM-XComposer2.5-Reward: A Simple Yet Effective Multi-Modal Reward
      Model" (the value of the ratio is not given).
  """
  where = "not_much_longer"
  checks.same_shape(where, chosen=chosen, rejected=rejected)
  checks.within(where, 0.0, low_open=True, max_ratio=max_ratio)
  chosen, rejected = (x.astype(jnp.float32) for x in (chosen, rejected))
  return chosen <= max_ratio * rejected


def above_quantile(
    rewards: Float[Array, " N"],
    mask: Bool[Array, " N"] | None = None,
    *,
    share: Scalar,
) -> Bool[Array, " N"]:
  """False for the `share` of the rows with the lowest rewards of their own.

  Rows that a reward model trained on all of them likes least are those that
  were broken or mislabelled more often than others.

  Args:
    rewards: of each row's prompt and answer.
    mask: True for real rows; None means all. Others are not kept.
    share: in [0, 1]; floor(share * rows) are dropped, of equal rewards the
      first ones.

  Raises:
    ValueError: if shapes differ, or `share` is no share.

  References:
    "InternLM-XComposer2.5-Reward: A Simple Yet Effective Multi-Modal Reward
      Model" (data cleaning).
  """
  checks.same_shape("above_quantile", rewards=rewards, mask=mask)
  checks.probability("above_quantile", share=share)
  mask = jnp.ones(rewards.shape, bool) if mask is None else mask
  filled = masking.fill_masked(rewards, mask, jnp.inf)
  # A stable order: equal rewards go by their place, masked rows last.
  place = jnp.argsort(jnp.argsort(filled, stable=True), stable=True)
  # 0.1 * 30 is 3.0000001: a whole number must not be missed either way.
  dropped = jnp.floor(share * jnp.sum(mask, dtype=jnp.float32) + 1e-4)
  return mask & (place >= dropped.astype(place.dtype))
