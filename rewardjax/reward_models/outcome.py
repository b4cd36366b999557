"""A reward per token, learned from nothing but the outcome of sequences."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking


class TokenWeights(NamedTuple):
  """How much a token matters, in [0, 1]; at most one of the two is not 0.

  positive: for cloning it in a right sample.
  negative: for pushing it away in a wrong one.
  """

  positive: Float[Array, "*batch T"]
  negative: Float[Array, "*batch T"]


def outcome_loss(
    token_rewards: Float[Array, "*batch T"],
    correct: Bool[Array, "*batch"],
    mask: Bool[Array, "*batch T"],
) -> Float[Array, "*batch"]:
  """Cross-entropy of the outcome and sigmoid(mean token reward).

  Args:
    token_rewards: of the reward model, one logit per token.
    correct: the outcome of each sequence.
    mask: True on sampled tokens.

  Returns:
    Nats per sequence, float32 or wider; 0 for a sequence without tokens,
    which must not count: reduce with `jnp.any(mask, -1)`.

  Gradient: flows through `token_rewards`.

  Raises:
    ValueError: if shapes disagree.
  """
  where = "outcome_loss"
  checks.same_shape(where, token_rewards=token_rewards, mask=mask)
  checks.same_shape(where, correct=correct, samples=mask[..., 0])
  logits = masking.masked_mean(token_rewards, mask, -1)
  losses = jax.nn.softplus(jnp.where(correct, -logits, logits))
  return jnp.where(jnp.any(mask, -1), losses, 0.0)


def token_weights(
    token_rewards: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
) -> TokenWeights:
  """Weights from the running mean c of the token rewards of a sequence.

      positive = max(2 sigmoid(c) - 1, 0),   negative = max(1 - 2 sigmoid(c), 0)

  Args:
    token_rewards: of the reward model, one logit per token.
    mask: True on sampled tokens; the running mean skips the others.

  Returns:
    `TokenWeights`, float32 or wider, 0 where masked.

  Gradient: flows through `token_rewards`; objectives hold weights constant.

  Raises:
    ValueError: if `mask` does not have the shape of `token_rewards`.

  References:
    Lyu et al., "Exploring the Limit of Outcome Reward for Learning
      Mathematical Reasoning" (OREAL).
  """
  checks.same_shape("token_weights", token_rewards=token_rewards, mask=mask)
  rewards = masking.fill_masked(token_rewards, mask)
  ones = masking.fill_masked(jnp.ones_like(rewards), mask)
  seen = jnp.maximum(jnp.cumsum(ones, axis=-1), 1)
  # tanh(c / 2) is 2 sigmoid(c) - 1, without the difference.
  belief = jnp.tanh(0.5 * jnp.cumsum(rewards, axis=-1) / seen)
  belief = masking.fill_masked(belief, mask)
  return TokenWeights(jnp.maximum(belief, 0.0), jnp.maximum(-belief, 0.0))
