"""Small networks that see a noisy sample, its time and a condition."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float


class TimeMLP(nn.Module):
  """An MLP over sample, time, octaves of time, and a condition.

  Attributes:
    widths: of the hidden layers.
    octaves: sines and cosines of pi t, 2 pi t, 4 pi t, ...
    dtype: of the hidden layers; parameters and output are float32.
  """

  widths: tuple[int, ...]
  octaves: int = 4
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
      self,
      x: Float[Array, "*batch D"],
      t: Float[Array, "*batch"],
      condition: Float[Array, "*batch C"] | None = None,
  ) -> Float[Array, "*batch D"]:
    """What the schedule's kind says: noise, data, velocity; 0 at first.

    Args:
      x: noisy samples, flattened.
      t: in [0, 1]; 1 is noise.
      condition: any numbers.
    """
    rates = jnp.pi * 2.0 ** jnp.arange(self.octaves)
    angles = t[..., None] * rates.reshape((1,) * t.ndim + (-1,))
    parts = [x, t[..., None], jnp.sin(angles), jnp.cos(angles)]
    if condition is not None:
      parts.append(condition)
    hidden = jnp.concatenate(parts, axis=-1)
    for width in self.widths:
      hidden = nn.silu(nn.Dense(width, dtype=self.dtype)(hidden))
    last = nn.Dense(
        x.shape[-1], dtype=jnp.float32, kernel_init=nn.initializers.zeros
    )
    return last(hidden)
