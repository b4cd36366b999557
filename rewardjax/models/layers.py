"""The pieces of a decoder-only transformer, on flattened activations.

Dense layers see `[M, D]` with M = B * T: XLA's CPU backend is slow on weight
gradients that contract two axes. Only attention knows rows from positions.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int


class Rotation(NamedTuple):
  """Cosines and sines of the RoPE angles, one per pair of channels."""

  cos: Float[Array, "B T half"]
  sin: Float[Array, "B T half"]


class KeyValue(NamedTuple):
  """Keys and values of one layer; S slots."""

  keys: Float[Array, "B K S H"]
  values: Float[Array, "B K S H"]


def rotation(
    positions: Int[Array, "B T"], head_dim: int, base: float
) -> Rotation:
  """Angles position * base^(-2i / head_dim), i = 0 .. head_dim / 2 - 1."""
  exponents = jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim
  frequencies = jnp.float32(base) ** -exponents
  angles = positions.astype(jnp.float32)[..., None] * frequencies[None, None]
  return Rotation(jnp.cos(angles), jnp.sin(angles))


def rotate(x: Float[Array, "B T N H"], by: Rotation) -> Float[Array, "B T N H"]:
  """Turns channel pairs (i, i + H/2): the layout of Hugging Face weights.

  Weights trained with neighbouring pairs (2i, 2i + 1) need their query and
  key channels permuted first.

  References:
    Su et al., "RoFormer", 2021, arXiv:2104.09864, Eq. 15.
  """
  first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  cos, sin = by.cos[:, :, None], by.sin[:, :, None]
  turned = (first * cos - second * sin, second * cos + first * sin)
  return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def attend(
    queries: Float[Array, "B T N H"],
    keys: Float[Array, "B K S H"],
    values: Float[Array, "B K S H"],
    allowed: Bool[Array, "B T S"],
) -> Float[Array, "B T N H"]:
  """Softmax attention; query head n reads key head n // (N / K).

  Scores and softmax are float32 or wider. A query that may read nothing
  gets a finite average of everything.
  """
  batch, length, num_heads, head_dim = queries.shape
  num_kv = keys.shape[1]
  repeats = num_heads // num_kv
  # Matrices over (query, slot) with two batch axes, the layout that XLA's
  # CPU backend hands to its matrix kernels.
  queries = queries.reshape(batch, length, num_kv, repeats, head_dim)
  queries = queries.transpose(0, 2, 3, 1, 4)
  queries = queries.reshape(batch, num_kv, repeats * length, head_dim)
  scores = jnp.einsum(
      "bkqh,bksh->bkqs",
      queries * jnp.asarray(head_dim**-0.5, queries.dtype),
      keys,
      preferred_element_type=jnp.promote_types(queries.dtype, jnp.float32),
  )
  scores = scores.reshape(batch, num_kv, repeats, length, -1)
  # A large finite number: a row of -inf would give NaN.
  scores = jnp.where(allowed[:, None, None], scores, -1e30)
  weights = jax.nn.softmax(scores, axis=-1).astype(values.dtype)
  weights = weights.reshape(batch, num_kv, repeats * length, -1)
  out = jnp.einsum("bkqs,bksh->bkqh", weights, values)
  out = out.reshape(batch, num_kv, repeats, length, head_dim)
  return out.transpose(0, 3, 1, 2, 4).reshape(batch, length, -1, head_dim)


class RMSNorm(nn.Module):
  """x / sqrt(mean(x^2) + epsilon) * scale over the last axis, in float32."""

  epsilon: float = 1e-6

  @nn.compact
  def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
    """The normalised activations, in the dtype of `x`."""
    scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    power = jnp.mean(jnp.square(wide), axis=-1, keepdims=True)
    normed = wide * jax.lax.rsqrt(power + self.epsilon)
    scale = scale.reshape((1,) * (x.ndim - 1) + scale.shape)
    return (normed * scale).astype(x.dtype)


class Attention(nn.Module):
  """Grouped-query causal attention with RoPE and an optional cache."""

  num_heads: int
  num_kv_heads: int
  head_dim: int
  qkv_bias: bool
  qk_norm: bool
  epsilon: float
  residual_scale: float  # of the output kernel's initial variance
  dtype: DTypeLike

  def _project(self, x, name, heads, rows):
    width = heads * self.head_dim
    dense = nn.Dense(width, use_bias=self.qkv_bias, dtype=self.dtype, name=name)
    return dense(x).reshape(*rows, heads, self.head_dim)

  @nn.compact
  def __call__(
      self,
      x: Float[Array, "M D"],
      angles: Rotation,
      allowed: Bool[Array, "B T S"],
      cache: KeyValue | None,
      index: Int[Array, ""] | int,
  ) -> tuple[Float[Array, "M D"], KeyValue | None]:
    """What the T queries of each row read, and the cache with their keys.

    Args:
      x: M = B * T activations.
      angles: of the T positions.
      allowed: which of S slots each query may read; S = T without a cache.
      cache: written at `index`, then read; None reads `x` alone.
      index: first slot to write.
    """
    rows = allowed.shape[:2]
    queries = self._project(x, "query", self.num_heads, rows)
    keys = self._project(x, "key", self.num_kv_heads, rows)
    values = self._project(x, "value", self.num_kv_heads, rows)
    if self.qk_norm:
      queries = RMSNorm(self.epsilon, name="query_norm")(queries)
      keys = RMSNorm(self.epsilon, name="key_norm")(keys)
    queries, keys = rotate(queries, angles), rotate(keys, angles)
    keys, values = keys.swapaxes(1, 2), values.swapaxes(1, 2)
    if cache is not None:
      write = jax.lax.dynamic_update_slice_in_dim
      keys = write(cache.keys, keys, index, axis=2)
      values = write(cache.values, values, index, axis=2)
      cache = KeyValue(keys, values)
    mixed = attend(queries, keys, values, allowed).reshape(x.shape[0], -1)
    out = _residual_dense(x.shape[-1], self.residual_scale, self.dtype, "out")
    return out(mixed), cache


class MLP(nn.Module):
  """SwiGLU: down(silu(gate(x)) * up(x))."""

  width: int
  residual_scale: float
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Float[Array, "M D"]) -> Float[Array, "M D"]:
    """What is added to the residual stream."""
    dense = lambda name: nn.Dense(
        self.width, use_bias=False, dtype=self.dtype, name=name
    )
    hidden = nn.silu(dense("gate")(x)) * dense("up")(x)
    out = _residual_dense(x.shape[-1], self.residual_scale, self.dtype, "down")
    return out(hidden)


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
      allowed: Bool[Array, "B T S"],
      cache: KeyValue | None = None,
      index: Int[Array, ""] | int = 0,
  ) -> tuple[Float[Array, "M D"], KeyValue | None]:
    """The residual stream after this layer; see `Attention`."""
    attention = Attention(
        **self.attention,
        epsilon=self.epsilon,
        residual_scale=self.residual_scale,
        dtype=self.dtype,
        name="attention",
    )
    normed = RMSNorm(self.epsilon, name="attention_norm")(x)
    mixed, cache = attention(normed, angles, allowed, cache, index)
    x = x + mixed
    mlp = MLP(self.mlp_width, self.residual_scale, self.dtype, name="mlp")
    return x + mlp(RMSNorm(self.epsilon, name="mlp_norm")(x)), cache


def _residual_dense(width, scale, dtype, name):
  """A projection onto the residual stream; small at first in deep nets."""
  init = nn.initializers.variance_scaling(scale, "fan_in", "truncated_normal")
  return nn.Dense(
      width, use_bias=False, dtype=dtype, kernel_init=init, name=name
  )
