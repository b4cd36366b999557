"""A small decoder-only transformer of the Llama and Qwen family.

    params = model.init(key, tokens, mask)["params"]
    h = transformer.features(model, params, tokens, mask)        # [B, T, D]
    u = transformer.unembedding(model, params)                   # [V, D]

Logits are h @ u.T; `policies.log_probs.score_features` takes h and u and
never forms them for a whole batch.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from rewardjax.models import attention, layers
from rewardjax.models.attention import Cache, KeyValue


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
      self,
      tokens: Int[Array, "B T"],
      mask: Bool[Array, "B T"],
      segments: Int[Array, "B T"] | None = None,
  ) -> Float[Array, "B T D"]:
    """Features whose product with the unembedding predicts the next token.

    Args:
      tokens: token ids; masked ones are never read.
      mask: True on real tokens; padding may stand anywhere. Positions count
        real tokens, so padding does not move them.
      segments: of packed rows: equal numbers, which stand together, are one
        sequence, and sequences do not see each other. None: a row is one.

    Returns:
      Features in `dtype`; finite and meaningless on masked positions.
    """
    allowed, positions = _own(mask, segments)
    x, angles = self._embed(tokens, mask, positions, tokens.shape[1])
    x = self._run(x, angles, attention.Rows(allowed))
    return self.final_norm(x).reshape(*tokens.shape, -1)

  def branch(
      self,
      prompts: Int[Array, "B P"],
      prompt_mask: Bool[Array, "B P"],
      tokens: Int[Array, "B G T"],
      mask: Bool[Array, "B G T"],
      segments: Int[Array, "B G T"] | None = None,
  ) -> Float[Array, "B G T D"]:
    """Features that predict each token; see `completion_features`."""
    # The last token of a row predicts nothing. It stays: lengths are powers of
    # two, and XLA's CPU backend takes twice as long for products of one less.
    batch, group, length = tokens.shape
    width = prompts.shape[1]
    allowed, positions = _own(mask, segments)
    positions += jnp.sum(prompt_mask, axis=1)[:, None, None]
    seen, prompt_positions = _own(prompt_mask)
    layout = attention.Branches(seen, prompt_mask, allowed)
    join = lambda stem, tips: jnp.concatenate(
        [stem, tips.reshape(batch, -1)], axis=1
    )
    x, angles = self._embed(
        join(prompts, tokens),
        join(prompt_mask, mask),
        join(prompt_positions, positions),
        width + length,
    )
    x = self._run(x, angles, layout)
    x = x.reshape(batch, -1, x.shape[-1])
    first = x[:, None, width - 1 : width]
    rest = x[:, width:].reshape(batch, group, length, -1)
    same = jnp.zeros((1, 1, length), int) if segments is None else segments
    starts = _segment_starts(same)[..., None]
    return self.final_norm(jnp.where(starts, first, jnp.roll(rest, 1, axis=2)))

  def prefill(
      self, tokens: Int[Array, "B P"], mask: Bool[Array, "B P"]
  ) -> tuple[Float[Array, "B D"], tuple[KeyValue, ...]]:
    """Reads prompts; returns the features of their last tokens and all keys."""
    allowed, positions = _own(mask)
    layout = attention.Rows(allowed)
    x, angles = self._embed(tokens, mask, positions, tokens.shape[1])
    empty = self.empty(tokens.shape[0], tokens.shape[1])
    written = []
    for layer, kept in zip(self.layers, empty):
      x, kept = layer(x, angles, layout, kept, 0)
      written.append(kept)
    last = x.reshape(*tokens.shape, -1)[:, -1]
    return self.final_norm(last), tuple(written)

  def extend(
      self, tokens: Int[Array, "B G T"], cache: Cache
  ) -> tuple[Float[Array, "B G D"], Cache]:
    """Reads T more tokens of each branch; the features of the last ones."""
    batch, group, length = tokens.shape
    count = lambda x: jnp.sum(x, axis=-1)
    before = count(cache.stem)[:, None] + count(cache.mask)
    positions = before[..., None] + jnp.arange(length)[None, None]
    mask = jnp.ones(tokens.shape, bool)
    known = jax.lax.dynamic_update_slice_in_dim(
        cache.mask, mask, cache.index, axis=2
    )
    slots = jnp.arange(known.shape[2])
    causal = cache.index + jnp.arange(length)[:, None] >= slots[None, :]
    layout = attention.Steps(
        cache.stem, causal[None, None] & known[:, :, None, :]
    )
    slots = cache.stem.shape[1] + cache.mask.shape[2]
    x, angles = self._embed(tokens, mask, positions, slots)
    written = []
    for layer, *kept in zip(self.layers, cache.prompt, cache.branch):
      x, (_, own) = layer(x, angles, layout, tuple(kept), cache.index)
      written.append(own)
    last = x.reshape(batch, group, length, -1)[:, :, -1]
    cache = cache._replace(
        branch=tuple(written), mask=known, index=cache.index + length
    )
    return self.final_norm(last), cache

  def empty(self, batch: int, slots: int) -> tuple[KeyValue, ...]:
    """Keys and values of no token yet, one branch per row."""
    heads = self.num_kv_heads or self.num_heads
    zeros = jnp.zeros((batch, heads, 1, slots, self.per_head), self.dtype)
    return (KeyValue(zeros, zeros),) * self.num_layers

  def _embed(self, tokens, mask, positions, length):
    # Padding may hold any id, even one outside the vocabulary.
    tokens = jnp.where(mask, tokens, 0).ravel()
    x = self.embedding[tokens].astype(self.dtype)
    positions = jnp.maximum(positions, 0).ravel()
    return x, layers.rotation(
        positions, length, self.per_head, self.rope_base
    )

  def _run(self, x, angles, layout):
    if self.scan_layers:
      return self.layers(x, angles, layout)[0]
    for layer in self.layers:
      x, _ = layer(x, angles, layout)
    return x


def _own(mask, segments=None):
  """What each token of a row may read of it, and each token's position."""
  length = mask.shape[-1]
  causal = jnp.tril(jnp.ones((length, length), bool))
  allowed = jnp.broadcast_to(causal, (*mask.shape, length))
  allowed &= mask[..., None, :]
  positions = jnp.cumsum(mask, axis=-1) - 1
  if segments is None:
    return allowed, positions
  allowed &= segments[..., :, None] == segments[..., None, :]
  return allowed, positions - _real_before_segment(mask, segments)


def _segment_starts(segments):
  first = jnp.ones((*segments.shape[:-1], 1), bool)
  changes = segments[..., 1:] != segments[..., :-1]
  return jnp.concatenate([first, changes], axis=-1)


def _real_before_segment(mask, segments):
  """Real tokens of the row that stand before each token's segment."""
  before = jnp.cumsum(mask, axis=-1) - mask
  before = jnp.where(_segment_starts(segments), before, 0)
  return jax.lax.cummax(before, axis=before.ndim - 1)


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
    segments: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T D"]:
  """Features of every position, in `model.dtype`: see `Transformer`."""
  return model.apply({"params": params}, tokens, mask, segments)


def completion_features(
    model: Transformer,
    params: PyTree,
    prompts: Int[Array, "B P"],
    prompt_mask: Bool[Array, "B P"],
    tokens: Int[Array, "B G T"],
    mask: Bool[Array, "B G T"],
    segments: Int[Array, "B G T"] | None = None,
) -> Float[Array, "B G T D"]:
  """Features that predict each token of G completions of B prompts.

  Those of `tokens[..., t]` stand one position before it: on the prompt's last
  token for t = 0. A prompt is computed once for its completions, forward and
  backward.

  Args:
    model: static.
    params: of the model; kernels may be `layers.Adapted`.
    prompts: padded left.
    prompt_mask: True on real tokens.
    tokens: of the completions.
    mask: True on real tokens; masked ids are never read.
    segments: where completions of one prompt are packed into common rows
      (`core.packing`): equal numbers, which stand together, are one
      completion. None: a row is one.
  """
  rows = (prompts, prompt_mask, tokens, mask, segments)
  return model.apply({"params": params}, *rows, method="branch")


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
