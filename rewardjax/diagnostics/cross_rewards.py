"""What training on one reward does to all the others."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking


def cross_reward_matrix(
    trained: Float[Array, "P N R"],
    base: Float[Array, "K R"],
    mask: Bool[Array, "P N R"] | None = None,
    base_mask: Bool[Array, "K R"] | None = None,
) -> Float[Array, "P R"]:
  """Entry (i, j): the change of reward j by training policy i, in base stds.

  A row that rises at its own reward alone has learned that reward's
  mistakes; a column that nothing lowers is one that all of them share.

  Args:
    trained: R rewards of N samples of each of P trained policies.
    base: the same rewards of samples of the policy they started from.
    mask: True for rewards that are known; None means all.
    base_mask: the same of the base.

  Returns:
    (mean - base mean) / base std, float32 or wider; the plain difference
    where a reward is constant on the base, 0 where nothing is known.

  Gradient: flows through both.

  Raises:
    ValueError: if shapes do not fit.

  References:
    "Understanding Reward Hacking in Text-to-Image Reinforcement Learning".
  """
  where = "cross_reward_matrix"
  checks.same_shape(where, trained=trained, mask=mask)
  checks.same_shape(where, base=base, base_mask=base_mask)
  checks.same_shape(where, rewards=trained[0, 0], base_rewards=base[0])
  mask = jnp.ones(trained.shape, bool) if mask is None else mask
  start = masking.masked_mean(base, base_mask, 0, keepdims=True)
  variance = masking.masked_variance(base, base_mask, 0, keepdims=True)
  # Filled before the root, whose slope at 0 is infinite.
  spread = jnp.sqrt(jnp.where(variance > 0, variance, 1.0))
  change = masking.masked_mean(trained, mask, 1) - start
  change = change / spread
  some = base_mask is None or jnp.any(base_mask, axis=0, keepdims=True)
  return jnp.where(jnp.any(mask, axis=1) & some, change, 0.0)


def hacked(
    changes: Float[Array, "P R"], own: Bool[Array, "P R"], *, truth: int
) -> Bool[Array, " P"]:
  """Whether the rewards trained on rise while the true one falls.

  Args:
    changes: of `cross_reward_matrix`.
    own: True for the rewards that policy i was trained on; the mean of their
      changes counts.
    truth: the column of the reward that nobody trains on (static).

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("hacked", changes=changes, own=own)
  gain = masking.masked_mean(changes, own, -1)
  return (gain > 0) & (changes[:, truth] < 0)
