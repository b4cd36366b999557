"""A small decoder-only transformer of the Llama and Qwen family.

    params = model.init(key, tokens, mask)["params"]
    h = transformer.features(model, params, tokens, mask)        # [B, T, D]
    u = transformer.unembedding(model, params)                   # [V, D]

Logits are h @ u.T; `policies.log_probs.score_features` takes h and u and
never forms them for a whole batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from rewardjax.models import layers
from rewardjax.models.layers import KeyValue


class Cache(NamedTuple):
  """What decoding remembers; S slots, of which `index` are written.

  One array per layer, not one stacked array: a stack that passes through
  `scan` is copied whole at every token.
  """

  layers: tuple[KeyValue, ...]
  mask: Bool[Array, "B S"]  # True on written slots that hold a real token
  index: Int[Array, ""]


class Transformer(nn.Module):
  """Pre-norm decoder with RoPE, grouped-query attention and SwiGLU.

  Attributes:
    num_kv_heads: heads of keys and values; None means `num_heads`.
    head_dim: channels of a head; None means width / num_heads.
    tied: the unembedding is the embedding table.
    qkv_bias: biases on queries, keys and values (Qwen2).
    qk_norm: RMSNorm on each head's queries and keys (Qwen3).
    rope_base: wavelength base of RoPE.
    norm_epsilon: of every RMSNorm.
    dtype: of activations; parameters are float32.
    scan_layers: one compiled layer for all, parameters stacked under
      `layers`; False compiles each, parameters under `layers_0`, ... .
    remat: recomputes each layer in the backward pass.
  """

  vocab_size: int
  width: int
  num_layers: int
  num_heads: int
  mlp_width: int
  num_kv_heads: int | None = None
  head_dim: int | None = None
  tied: bool = True
  qkv_bias: bool = False
  qk_norm: bool = False
  rope_base: float = 10_000.0
  norm_epsilon: float = 1e-6
  dtype: DTypeLike = jnp.float32
  scan_layers: bool = False
  remat: bool = False

  def setup(self):
    """Declares the parameters; flax calls it.

    Raises:
      ValueError: if heads do not divide evenly, or their channels into pairs.
    """
    kv_heads = self.num_kv_heads or self.num_heads
    _check_divides("num_heads", self.num_heads, kv_heads)
    _check_divides("head_dim", self.per_head, 2)
    if self.head_dim is None:
      _check_divides("width", self.width, self.num_heads)
    table_init = nn.initializers.normal(self.width**-0.5)
    shape = (self.vocab_size, self.width)
    self.embedding = self.param("embedding", table_init, shape)
    if not self.tied:
      self.unembedding = self.param("unembedding", table_init, shape)
    self.final_norm = layers.RMSNorm(self.norm_epsilon)
    block = nn.remat(layers.Block) if self.remat else layers.Block
    make = lambda block: block(
        dict(
            num_heads=self.num_heads,
            num_kv_heads=kv_heads,
            head_dim=self.per_head,
            qkv_bias=self.qkv_bias,
            qk_norm=self.qk_norm,
        ),
        mlp_width=self.mlp_width,
        epsilon=self.norm_epsilon,
        residual_scale=0.5 / self.num_layers,
        dtype=self.dtype,
    )
    if self.scan_layers:
      block = nn.scan(
          block,
          variable_axes={"params": 0},
          split_rngs={"params": True},
          in_axes=nn.broadcast,
          length=self.num_layers,
      )
      self.layers = make(block)
    else:
      self.layers = [make(block) for _ in range(self.num_layers)]

  @property
  def per_head(self) -> int:
    """Channels of one head."""
    return self.head_dim or self.width // self.num_heads

  def __call__(
      self, tokens: Int[Array, "B T"], mask: Bool[Array, "B T"]
  ) -> Float[Array, "B T D"]:
    """Features whose product with the unembedding predicts the next token.

    Args:
      tokens: token ids; masked ones are never read.
      mask: True on real tokens; padding may stand anywhere. Positions count
        real tokens, so padding does not move them.

    Returns:
      Features in `dtype`; finite and meaningless on masked positions.
    """
    slots = jnp.arange(tokens.shape[1])
    causal = slots[:, None] >= slots[None, :]
    allowed = causal[None] & mask[:, None, :]
    x, angles = self._embed(tokens, mask, jnp.cumsum(mask, axis=1) - 1)
    if self.scan_layers:
      x, _ = self.layers(x, angles, allowed)
    else:
      for layer in self.layers:
        x, _ = layer(x, angles, allowed)
    return self.final_norm(x).reshape(*tokens.shape, -1)

  def extend(
      self, tokens: Int[Array, "B T"], mask: Bool[Array, "B T"], cache: Cache
  ) -> tuple[Float[Array, "B D"], Cache]:
    """Reads T more tokens; returns the features of the last one."""
    length = tokens.shape[1]
    before = jnp.sum(cache.mask, axis=1, keepdims=True)
    positions = before + jnp.cumsum(mask, axis=1) - 1
    known = jax.lax.dynamic_update_slice(cache.mask, mask, (0, cache.index))
    slots = jnp.arange(known.shape[1])
    causal = cache.index + jnp.arange(length)[:, None] >= slots[None, :]
    allowed = causal[None] & known[:, None, :]
    x, angles = self._embed(tokens, mask, positions)
    written = []
    for layer, kept in zip(self.layers, cache.layers):
      x, kept = layer(x, angles, allowed, kept, cache.index)
      written.append(kept)
    last = x.reshape(*tokens.shape, -1)[:, -1]
    cache = Cache(tuple(written), known, cache.index + length)
    return self.final_norm(last), cache

  def _embed(self, tokens, mask, positions):
    # Padding may hold any id, even one outside the vocabulary.
    x = self.embedding[jnp.where(mask, tokens, 0)].astype(self.dtype)
    positions = jnp.maximum(positions, 0)
    angles = layers.rotation(positions, self.per_head, self.rope_base)
    return x.reshape(-1, self.width), angles


def _check_divides(name, value, divisor):
  if value % divisor:
    raise ValueError(
        f"Transformer: {name} must be a multiple of {divisor}, got {value}."
    )


def features(
    model: Transformer,
    params: PyTree,
    tokens: Int[Array, "B T"],
    mask: Bool[Array, "B T"],
) -> Float[Array, "B T D"]:
  """Features of every position, in `model.dtype`: see `Transformer`."""
  return model.apply({"params": params}, tokens, mask)


def completion_features(
    model: Transformer,
    params: PyTree,
    prompts: Int[Array, "B P"],
    prompt_mask: Bool[Array, "B P"],
    tokens: Int[Array, "B G T"],
    mask: Bool[Array, "B G T"],
) -> Float[Array, "B G T D"]:
  """Features that predict each token of G completions of B prompts.

  Those of `tokens[..., t]` stand one position before it: on the prompt's last
  token for t = 0. The last token predicts nothing and is not read.
  """
  batch, group_size, length = tokens.shape
  rows = batch * group_size
  join = lambda prompt, new: jnp.concatenate(
      [jnp.repeat(prompt, group_size, axis=0), new.reshape(rows, length)], 1
  )[:, :-1]
  all_tokens, all_masks = join(prompts, tokens), join(prompt_mask, mask)
  found = features(model, params, all_tokens, all_masks)
  return found[:, prompts.shape[1] - 1 :].reshape(*tokens.shape, -1)


def unembedding(model: Transformer, params: PyTree) -> Float[Array, "V D"]:
  """The table whose row v scores token v, in `model.dtype`.

  One row per token, as embeddings are stored: tied tables need no copy.
  """
  table = params["embedding" if model.tied else "unembedding"]
  return table.astype(model.dtype)


def logits(
    model: Transformer, params: PyTree, features: Float[Array, "*batch D"]
) -> Float[Array, "*batch V"]:
  """features @ unembedding.T, float32 or wider."""
  wide = jnp.promote_types(features.dtype, jnp.float32)
  table = unembedding(model, params)
  return jax.lax.dot_general(
      features,
      table,
      (((features.ndim - 1,), (1,)), ((), ())),
      preferred_element_type=wide,
  )


def stack_layers(params: PyTree, num_layers: int) -> PyTree:
  """Parameters of an unrolled model in the layout of a scanned one."""
  rest = dict(params)
  each = [rest.pop(f"layers_{i}") for i in range(num_layers)]
  return {**rest, "layers": jax.tree.map(lambda *x: jnp.stack(x), *each)}


def unstack_layers(params: PyTree, num_layers: int) -> PyTree:
  """Parameters of a scanned model in the layout of an unrolled one."""
  rest = dict(params)
  stacked = rest.pop("layers")
  for i in range(num_layers):
    rest[f"layers_{i}"] = jax.tree.map(lambda x: x[i], stacked)  # noqa: B023
  return rest


class Decoder(NamedTuple):
  """Three functions that continue sequences: `policies.decoding` calls them."""

  prefill: Callable
  repeat: Callable
  step: Callable


def decoder(model: Transformer) -> Decoder:
  """Incremental decoding of `model`, equal to its full forward pass."""
  unrolled = model.clone(scan_layers=False, remat=False)

  def extend(params, tokens, mask, cache):
    if model.scan_layers:
      params = unstack_layers(params, model.num_layers)
    last, cache = unrolled.apply(
        {"params": params}, tokens, mask, cache, method="extend"
    )
    return logits(unrolled, params, last), cache

  def prefill(params, tokens, mask, max_len):
    return extend(params, tokens, mask, _empty_cache(model, mask, max_len))

  def repeat(cache, times):
    copy = lambda x: jnp.repeat(x, times, axis=0)
    rows = jax.tree.map(copy, (cache.layers, cache.mask))
    return Cache(*rows, cache.index)

  def step(params, tokens, cache):
    mask = jnp.ones((tokens.shape[0], 1), bool)
    return extend(params, tokens[:, None], mask, cache)

  return Decoder(prefill, repeat, step)


def _empty_cache(model, mask, max_len):
  heads = model.num_kv_heads or model.num_heads
  shape = (mask.shape[0], heads, max_len, model.per_head)
  zeros = jnp.zeros(shape, model.dtype)
  slots = jnp.zeros((mask.shape[0], max_len), bool)
  return Cache(
      tuple(KeyValue(zeros, zeros) for _ in range(model.num_layers)),
      slots,
      jnp.zeros((), jnp.int32),
  )
