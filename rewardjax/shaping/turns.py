"""Rewards of the turns of an episode."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking


def dense_turn_reward(
    gained: Float[Array, "*batch K"],
    success: Bool[Array, "*batch"],
    most: Float[Array, "*batch"],
    mask: Bool[Array, "*batch K"] | None = None,
) -> Float[Array, "*batch K"]:
  """What each turn gained, scaled so that success sums to 1, failure to less.

      r_k = gained_k / D,   D = number of gains if the episode succeeds,
                            else `most`, at least 1 and one more than it has

  Args:
    gained: intermediate rewards, 0 or 1 per turn.
    success: whether the whole task was done.
    most: gains of a complete episode, as far as known.
    mask: True on turns that were played.

  Returns:
    Reward units; 0 for turns that were not played.

  Gradient: flows through `gained`.

  References:
    "A Practitioner's Guide to Multi-turn Agentic Reinforcement Learning".
  """
  where = "dense_turn_reward"
  checks.same_shape(where, gained=gained, mask=mask)
  checks.same_shape(where, success=success, most=most, episodes=gained[..., 0])
  gained = masking.fill_masked(gained, mask)
  count = jnp.sum(gained > 0, axis=-1).astype(gained.dtype)
  # Otherwise a failure with as many gains as are known would sum to 1.
  failed = jnp.maximum(jnp.maximum(most, 1.0), count + 1)
  divisor = jnp.where(success, jnp.maximum(count, 1.0), failed)
  return gained / divisor[..., None]


def sparse_turn_reward(
    success: Bool[Array, "*batch"], mask: Bool[Array, "*batch K"]
) -> Float[Array, "*batch K"]:
  """1 on the last turn that was played, if the task was done; 0 elsewhere."""
  checks.same_shape("sparse_turn_reward", success=success, rows=mask[..., 0])
  turns = jnp.broadcast_to(jnp.arange(mask.shape[-1]), mask.shape)
  last = jnp.max(jnp.where(mask, turns, -1), axis=-1, keepdims=True)
  return (mask & (turns == last) & success[..., None]).astype(jnp.float32)
