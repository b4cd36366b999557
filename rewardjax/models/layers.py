"""The pieces of a decoder-only transformer, on flattened activations.

Dense layers see `[M, D]`, every token of the batch a row: XLA's CPU backend is
slow on weight gradients that contract two axes. Only attention knows which
tokens belong together; `attention` tells it.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, PyTree

from rewardjax.core import collectives, numerics
from rewardjax.models import attention
from rewardjax.models.attention import Layout


class Rotation(NamedTuple):
  """Cosines and sines of the RoPE angles, one per pair of channels."""

  cos: Float[Array, "M half"]
  sin: Float[Array, "M half"]


def rotation(
    positions: Int[Array, " M"], length: int, head_dim: int, base: float
) -> Rotation:
  """Angles position * base^(-2i / head_dim), i = 0 .. head_dim / 2 - 1.

  Read from a table made while tracing: computed in the program, XLA's CPU
  backend computes them anew for every layer's queries and keys.

  Args:
    positions: below `length`.
    length: rows of the table (static).
    head_dim: channels of a head (static).
    base: of the wavelengths (static).
  """
  frequencies = float(base) ** -(np.arange(0, head_dim, 2) / head_dim)
  angles = np.arange(length)[:, None] * frequencies[None]
  table = np.cos(angles), np.sin(angles)
  return Rotation(*(jnp.asarray(x, jnp.float32)[positions] for x in table))


def rotate(x: Float[Array, "M N H"], by: Rotation) -> Float[Array, "M N H"]:
  """Turns channel pairs (i, i + H/2): the layout of Hugging Face weights.

  Weights trained with neighbouring pairs (2i, 2i + 1) need their query and
  key channels permuted first.

  References:
    Su et al., "RoFormer", 2021, arXiv:2104.09864, Eq. 15.
  """
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  first, second = jnp.split(wide, 2, axis=-1)
  cos, sin = by.cos[:, None], by.sin[:, None]
  turned = (first * cos - second * sin, second * cos + first * sin)
  return jnp.concatenate(turned, axis=-1).astype(x.dtype)


class RMSNorm(nn.Module):
  """x / sqrt(mean(x^2) + epsilon) * scale over the last axis, in float32."""

  epsilon: float = 1e-6

  @nn.compact
  def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    """The normalised activations, in the dtype of `x`."""
    scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    power = jnp.mean(jnp.square(wide), axis=-1, keepdims=True)
    factors = jax.lax.rsqrt(power + self.epsilon).reshape(-1, 1)
    factors = numerics.outer(factors, scale).reshape(x.shape)
    return (wide * factors).astype(x.dtype)


class Adapted(NamedTuple):
  """A kernel and a low-rank update, in the place of a plain kernel.

  x @ kernel + (x @ down) @ up: no matrix of the kernel's size is made, nor
  its gradient where the kernel is constant. See `lora.attach`.
  """

  kernel: Float[Array, "*stack inputs outputs"]
  down: Float[Array, "*stack inputs rank"]
  up: Float[Array, "*stack rank outputs"]


class Dense(nn.Module):
  """x @ kernel + bias; the kernel may be `Adapted`."""

  features: int
  use_bias: bool
  dtype: DTypeLike
  variance: float = 1.0  # of the initial outputs, relative to the inputs'

  @nn.compact
  def __call__(self, x: Float[Array, "M inputs"]) -> Float[Array, "M outputs"]:
    """The projection, in `dtype`."""
    init = nn.initializers.variance_scaling(
        self.variance, "fan_in", "truncated_normal"
    )
    shape = (x.shape[-1], self.features)
    kernel = self.param("kernel", init, shape)
    x, cast = x.astype(self.dtype), lambda y: y.astype(self.dtype)
    if isinstance(kernel, Adapted):
      kernel, down, up = map(cast, kernel)
      y = x @ kernel + (x @ down) @ up
    else:
      y = x @ cast(kernel)
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,))
      y = y + cast(bias)[None]
    return y


class Attention(nn.Module):
  """Grouped-query attention with RoPE and an optional cache."""

  num_heads: int
  num_kv_heads: int
  head_dim: int
  qkv_bias: bool
  qk_norm: bool
  epsilon: float
  residual_scale: float  # of the output kernel's initial variance
  dtype: DTypeLike

  def _project(self, x, name, heads):
    width = heads * self.head_dim
    dense = Dense(width, self.qkv_bias, self.dtype, name=name)
    return dense(x).reshape(-1, heads, self.head_dim)

  @nn.compact
  def __call__(
      self,
      x: Float[Array, "M D"],
      angles: Rotation,
      layout: Layout,
      cache: PyTree | None,
      index: Int[Array, ""] | int,
      read: Int[Array, "B R"] | None,
  ) -> tuple[Float[Array, "N D"], PyTree | None]:
    """What each token reads, and the cache with the keys of all.

    Args:
      x: activations of M tokens.
      angles: of their positions.
      layout: who may read whom.
      cache: written at `index`, then read; None reads `x` alone.
      index: first slot to write.
      read: of `Rows`: positions that ask, N = B * R; None: all, N = M.
    """
    queries = self._project(attention.take(x, read), "query", self.num_heads)
    keys = self._project(x, "key", self.num_kv_heads)
    values = self._project(x, "value", self.num_kv_heads)
    if self.qk_norm:
      queries = RMSNorm(self.epsilon, name="query_norm")(queries)
      keys = RMSNorm(self.epsilon, name="key_norm")(keys)
    keys = rotate(keys, angles)
    if read is not None:
      angles = Rotation(*(attention.take(a, read) for a in angles))
      layout = layout.at(read)
    queries = rotate(queries, angles)
    mixed, cache = layout.attend(queries, keys, values, cache, index)
    scale = self.residual_scale
    return Dense(x.shape[-1], False, self.dtype, scale, name="out")(
        mixed
    ), cache


class MLP(nn.Module):
  """SwiGLU: down(silu(gate(x)) * up(x))."""

  width: int
  residual_scale: float
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Float[Array, "M D"]) -> Float[Array, "M D"]:
    """What is added to the residual stream."""
    dense = functools.partial(Dense, use_bias=False, dtype=self.dtype)
    gate, up = (dense(self.width, name=name)(x) for name in ("gate", "up"))
    scale = self.residual_scale
    return dense(x.shape[-1], variance=scale, name="down")(nn.silu(gate) * up)


class Block(nn.Module):
  """x + attention(norm(x)), then x + mlp(norm(x))."""

  attention: Mapping[str, Any]  # keywords of `Attention`
  mlp_width: int
  epsilon: float
  residual_scale: float
  dtype: DTypeLike

  @nn.compact
  def __call__(
      self,
      x: Float[Array, "M D"],
      angles: Rotation,
      layout: Layout,
      cache: PyTree | None = None,
      index: Int[Array, ""] | int = 0,
      read: Int[Array, "B R"] | None = None,
  ) -> tuple[Float[Array, "N D"], PyTree | None]:
    """The residual stream after this layer; see `Attention`."""
    mix = Attention(
        **self.attention,
        epsilon=self.epsilon,
        residual_scale=self.residual_scale,
        dtype=self.dtype,
        name="attention",
    )
    x = collectives.keep_rows(x)
    normed = RMSNorm(self.epsilon, name="attention_norm")(x)
    mixed, cache = mix(normed, angles, layout, cache, index, read)
    x = collectives.keep_rows(attention.take(x, read) + mixed)
    mlp = MLP(self.mlp_width, self.residual_scale, self.dtype, name="mlp")
    x = x + mlp(RMSNorm(self.epsilon, name="mlp_norm")(x))
    return collectives.keep_rows(x), cache
