"""Small heads on top of sequence features.

Positions are read off the mask, never off token ids: a stop token that
doubles as padding, or one inside the prompt, cannot mislead them.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float


class RewardHead(nn.Module):
  """Reads one scalar reward off the last valid position of a sequence.

  Attributes:
    hidden: width of the hidden layer; 0 reads the reward linearly.
    dtype: of the hidden layer; parameters, the last projection and the
      reward are float32.
  """

  hidden: int = 0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
      self,
      features: Float[Array, "*batch T D"],
      mask: Bool[Array, "*batch T"],
  ) -> Float[Array, "*batch"]:
    """Rewards; finite and meaningless where nothing is valid."""
    slots = jnp.arange(mask.shape[-1]).reshape((1,) * (mask.ndim - 1) + (-1,))
    last = jnp.max(jnp.where(mask, slots, 0), axis=-1)
    pooled = jnp.take_along_axis(features, last[..., None, None], axis=-2)
    return _project(pooled[..., 0, :], self.hidden, self.dtype)


class ValueHead(nn.Module):
  """Reads a value off every position, in reward units; 0 where masked.

  Attributes:
    hidden: width of the hidden layer; 0 reads values linearly.
    dtype: of the hidden layer; the rest is float32.
  """

  hidden: int = 0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
      self,
      features: Float[Array, "*batch T D"],
      mask: Bool[Array, "*batch T"] | None = None,
  ) -> Float[Array, "*batch T"]:
    """Values; masked features may hold anything. No mask: all are real."""
    if mask is not None:
      zeros = jnp.zeros_like(features)
      features = jnp.where(mask[..., None], features, zeros)
    flat = features.reshape(-1, features.shape[-1])
    values = _project(flat, self.hidden, self.dtype)
    values = values.reshape(features.shape[:-1])
    return values if mask is None else jnp.where(mask, values, 0.0)


def _project(x, hidden, dtype):
  """To one float32 scalar; called inside a compact module."""
  if hidden:
    x = nn.gelu(nn.Dense(hidden, dtype=dtype)(x))
  # Zero initial weights: the first rewards are 0, whatever the features.
  out = nn.Dense(1, dtype=jnp.float32, kernel_init=nn.initializers.zeros)
  return out(x)[..., 0]
