"""Learning from outcomes: clone what was right, push away what was wrong."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.core import checks, masking
from rewardjax.objectives import policy_gradient


def clone_and_push(
    log_probs: Float[Array, "*shape"], weights: Float[Array, "*#shape"]
) -> Float[Array, "*shape"]:
  """-w log pi where w > 0 (cloning), -w pi / sg(pi) elsewhere (pushing).

  Both have the gradient of `score_surrogate`, -w grad log pi; the second has
  a value that stays bounded as log pi falls.

  Args:
    log_probs: of the sampled tokens, in nats.
    weights: advantages, any sign.

  Gradient: flows through `log_probs`; `weights` are held.

  Raises:
    ValueError: if `weights` does not broadcast to `log_probs`.

  References:
    Lyu et al., "Exploring the Limit of Outcome Reward for Learning
      Mathematical Reasoning" (OREAL).
  """
  checks.broadcasts_to("clone_and_push", log_probs.shape, weights=weights)
  weights = masking.as_accumulator(jax.lax.stop_gradient(weights))
  ratio = policy_gradient.token_ratio(log_probs, log_probs)
  clone = policy_gradient.score_surrogate(log_probs, weights)
  return jnp.where(weights > 0, clone, -weights * ratio)
