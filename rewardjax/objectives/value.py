"""Losses of a critic, per token and unreduced."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def clipped_value_loss(
    values: Float[Array, "*shape"],
    behavior_values: Float[Array, "*shape"],
    returns: Float[Array, "*shape"],
    *,
    clip: Scalar,
) -> Float[Array, "*shape"]:
  """max((V - R)^2, (clip(V, V_mu - clip, V_mu + clip) - R)^2) / 2.

  The larger of the two: the gradient stops where V has left the interval
  around its value at collection *towards* the return.

  Args:
    values: of the critic in training, in reward units.
    behavior_values: of the critic when the batch was collected.
    returns: its targets, computed before advantages are whitened.
    clip: how far V may move per batch, in reward units.

  Gradient: flows through `values`; the other two are held.

  References:
    Schulman et al., "Proximal Policy Optimization Algorithms", 2017,
      arXiv:1707.06347 (the clip is of its released code).
  """
  where = "clipped_value_loss"
  checks.same_shape(
      where, values=values, behavior_values=behavior_values, returns=returns
  )
  checks.at_least(where, 0, clip=clip)
  values = masking.as_accumulator(values)
  returns = masking.as_accumulator(jax.lax.stop_gradient(returns))
  anchor = masking.as_accumulator(jax.lax.stop_gradient(behavior_values))
  clipped = jnp.clip(values, anchor - clip, anchor + clip)
  errors = jnp.square(values - returns), jnp.square(clipped - returns)
  return 0.5 * jnp.maximum(*errors)
