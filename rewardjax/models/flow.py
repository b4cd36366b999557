"""A small velocity network for flows over hidden states."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int


class VelocityNet(nn.Module):
  """MLP blocks modulated by time, a condition and the layer of the state.

  Each block normalises, scales and shifts by what the condition says, and
  adds its gated output (AdaLN). The last projection starts at 0: so do all
  velocities.

  Attributes:
    width: of the hidden layers.
    depth: number of blocks.
    num_layers: layers of the observed model that states may come from.
    frequencies: of the embedding of time; 2 * frequencies numbers.
    dtype: of activations; parameters and velocities are float32.

  References:
    Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023.
  """

  width: int
  depth: int = 2
  num_layers: int = 1
  frequencies: int = 8
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
      self,
      x: Float[Array, "*batch D"],
      time: Float[Array, "*batch"],
      condition: Float[Array, "*batch D"],
      layer: Int[Array, "*batch"],
  ) -> Float[Array, "*batch D"]:
    """Velocities at `x`.

    Args:
      x: noisy states.
      time: 0 is noise, 1 is data.
      condition: such as the state of a neighbouring token.
      layer: 0 .. num_layers-1.
    """
    dense = lambda size, **options: nn.Dense(size, dtype=self.dtype, **options)
    rates = jnp.pi * 2.0 ** jnp.arange(self.frequencies)
    angles = time[..., None] * rates.reshape((1,) * time.ndim + (-1,))
    waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    embed = nn.Embed(self.num_layers, self.width, dtype=self.dtype)
    context = dense(self.width)(waves) + dense(self.width)(condition)
    context = nn.silu(context + embed(layer))
    hidden = dense(self.width)(x)
    for _ in range(self.depth):
      # Zeros: every block starts as the identity.
      zeros = nn.initializers.zeros
      change = dense(3 * self.width, kernel_init=zeros)(context)
      scale, shift, gate = jnp.split(change, 3, axis=-1)
      norm = nn.LayerNorm(use_bias=False, use_scale=False, dtype=self.dtype)
      inner = norm(hidden) * (1 + scale) + shift
      hidden += gate * dense(self.width)(nn.silu(dense(self.width)(inner)))
    last = nn.Dense(
        x.shape[-1], dtype=jnp.float32, kernel_init=nn.initializers.zeros
    )
    return last(hidden)
