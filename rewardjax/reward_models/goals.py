"""Where a text is heading, read off every prefix of it."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.reward_models.contrastive import cosine


def goal_state(
    features: Float[Array, "N T H"], mask: Bool[Array, "N T"]
) -> Float[Array, " H"]:
  """Mean of the last valid token's features, over preferred texts.

  Args:
    features: of texts that should be reached.
    mask: True for real tokens; rows without any do not count.

  Returns:
    Float32 or wider.

  Gradient: flows to the last tokens.

  Raises:
    ValueError: if shapes differ.

  References:
    Nath et al., "Learning Goal-Conditioned Representations for Language
      Reward Models", 2024.
  """
  checks.same_shape("goal_state", features=features[..., 0], mask=mask)
  last = masking.last_valid(mask)[..., None]
  last = jnp.broadcast_to(last, features.shape)
  return masking.masked_mean(features, last, (0, 1))


def cosine_trace(
    features: Float[Array, "*batch T H"],
    goal: Float[Array, " H"],
    mask: Bool[Array, "*batch T"] | None = None,
) -> Float[Array, "*batch T"]:
  """cos(h_t, goal): the value of each prefix, in [-1, 1]; 0 where masked.

  As a reward of prefixes it steers decoding, see `search.guided`: log-prob
  plus strength times the cosine.

  Gradient: flows through both.

  Raises:
    ValueError: if shapes differ.

  References:
    Nath et al., "Learning Goal-Conditioned Representations for Language
      Reward Models", 2024.
  """
  where = "cosine_trace"
  checks.same_shape(where, features=features[..., 0], mask=mask)
  checks.same_shape(where, goal=goal, feature=features.reshape(
      -1, features.shape[-1])[0])
  if mask is not None:
    wide = jnp.broadcast_to(mask[..., None], features.shape)
    features = masking.fill_masked(features, wide)
  goal = goal.reshape((1,) * (features.ndim - 1) + goal.shape)
  return masking.fill_masked(cosine(features, goal), mask)
