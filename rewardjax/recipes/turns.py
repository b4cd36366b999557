"""Credit for episodes of several turns, observations left out."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.advantages import group, placement, temporal
from rewardjax.core import masking
from rewardjax.recipes.credit import Credit
from rewardjax.types import Scalar


def turn_gae_credit(
    turn_rewards: Float[Array, "B G K"],
    turns: Int[Array, "B G T"],
    mask: Bool[Array, "B G T"],
    values: Float[Array, "B G T"],
    *,
    discount: Scalar = 1.0,
    decay: Scalar = 0.95,
    whiten: bool = True,
) -> Credit:
  """PPO: each turn's reward on its last own token, advantages of a critic.

  The recursion steps from one action to the next as if the observations in
  between were not there.

  Args:
    turn_rewards: dense or sparse, see `shaping.turns`.
    turns: of each token.
    mask: True on the policy's own tokens.
    values: of the critic; read on those alone.
    discount: per own token.
    decay: lambda.
    whiten: whether to whiten over all own tokens (static).
  """
  rewards = placement.step_end(turn_rewards, turns, mask)
  advantages, returns = temporal.gae(
      rewards, values, mask, discount=discount, decay=decay
  )
  if whiten:
    advantages = masking.masked_whiten(advantages, mask)
  return Credit(advantages, mask, returns, values)


def turn_group_credit(
    turn_rewards: Float[Array, "B G K"],
    turns: Int[Array, "B G T"],
    mask: Bool[Array, "B G T"],
    *,
    leave_one_out: bool = False,
) -> Credit:
  """GRPO or RLOO: one advantage per episode, from the sum of its turns.

  Args:
    turn_rewards: dense or sparse.
    turns: of each token; a turn without an own token pays nothing.
    mask: True on the policy's own tokens.
    leave_one_out: RLOO's advantages instead of GRPO's (static).
  """
  paid = placement.step_end(turn_rewards, turns, mask)
  total = jnp.sum(paid, axis=-1)
  estimator = group.leave_one_out if leave_one_out else group.standardized
  return Credit(estimator(total)[..., None], mask)
