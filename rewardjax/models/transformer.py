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
    _check_divides("num_heads", self.num_heads, self.kv_heads)
    _check_divides("head_dim", self.per_head, 2)
    if self.head_dim is None:
      _check_divides("width", self.width, self.num_heads)
    table_init = nn.initializers.normal(self.width**-0.5)
    shape = (self.vocab_size, self.width)
    self.embedding = self.param("embedding", table_init, shape)
    if not self.tied:
      self.unembedding = self.param("unembedding", table_init, shape)
    self.final_norm = layers.RMSNorm(self.norm_epsilon)
    if self.scan_layers:
      block = nn.scan(
          self._block_type,
          variable_axes={"params": 0},
          split_rngs={"params": True},
          in_axes=nn.broadcast,
          length=self.num_layers,
      )
      self.layers = block(**self._block_fields)
    else:
      self.layers = [
          self._block_type(**self._block_fields)
          for _ in range(self.num_layers)
      ]

  @property
  def _block_type(self):
    return nn.remat(layers.Block) if self.remat else layers.Block

  @property
  def _block_fields(self):
    attention_fields = dict(
        num_heads=self.num_heads,
        num_kv_heads=self.kv_heads,
        head_dim=self.per_head,
        qkv_bias=self.qkv_bias,
        qk_norm=self.qk_norm,
    )
    return dict(
        attention=attention_fields,
        mlp_width=self.mlp_width,
        epsilon=self.norm_epsilon,
        residual_scale=0.5 / self.num_layers,
        dtype=self.dtype,
    )

  @property
  def per_head(self) -> int:
    """Channels of one head."""
    return self.head_dim or self.width // self.num_heads

  @property
  def kv_heads(self) -> int:
    """Heads of keys and values."""
    return self.num_kv_heads or self.num_heads

  def __call__(
      self,
      tokens: Int[Array, "B T"],
      mask: Bool[Array, "B T"],
      segments: Int[Array, "B T"] | None = None,
      parents: Int[Array, "B T"] | None = None,
      read: Int[Array, "B R"] | None = None,
  ) -> Float[Array, "B R D"]:
    """Features whose product with the unembedding predicts the next token.

    Args:
      tokens: token ids; masked ones are never read.
      mask: True on real tokens; padding may stand anywhere. Positions count
        real tokens, so padding does not move them.
      segments: of packed rows: equal numbers, which stand together, are one
        sequence, and sequences do not see each other. None: a row is one.
      parents: of packed rows: the segment before a token's own that its own
        goes on from, reading it all; a number that no segment has: none.
        Several may go on from one, which is computed once.
      read: positions whose features are wanted; None: all T, in order. The
        last layer computes keys and values of all, and the rest of these.

    Returns:
      Features in `dtype`; finite and meaningless on masked positions.

    Raises:
      ValueError: for parents without segments.
    """
    if parents is not None and segments is None:
      raise ValueError("Transformer: parents needs segments, got None.")
    allowed, positions = attention.own(mask, segments, parents)
    x, angles = self._embed(tokens, mask, positions, tokens.shape[1])
    x = self._run(x, angles, attention.Rows(allowed), read)
    return self.final_norm(x).reshape(tokens.shape[0], -1, x.shape[-1])

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
    allowed, positions = attention.own(mask, segments)
    positions += jnp.sum(prompt_mask, axis=1)[:, None, None]
    seen, prompt_positions = attention.own(prompt_mask)
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
    starts = attention.starts(same)[..., None]
    return self.final_norm(jnp.where(starts, first, jnp.roll(rest, 1, axis=2)))

  def prefill(
      self, tokens: Int[Array, "B P"], mask: Bool[Array, "B P"]
  ) -> tuple[Float[Array, "B D"], tuple[KeyValue, ...]]:
    """Reads prompts; returns the features of their last tokens and all keys."""
    allowed, positions = attention.own(mask)
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
    shape = (batch, self.kv_heads, 1, slots, self.per_head)
    zeros = jnp.zeros(shape, self.dtype)
    return (KeyValue(zeros, zeros),) * self.num_layers

  def _embed(self, tokens, mask, positions, length):
    # Padding may hold any id, even one outside the vocabulary.
    tokens = jnp.where(mask, tokens, 0).ravel()
    x = self.embedding[tokens].astype(self.dtype)
    positions = jnp.maximum(positions, 0).ravel()
    return x, layers.rotation(
        positions, length, self.per_head, self.rope_base
    )

  def _run(self, x, angles, layout, read=None):
    """Through all layers; the last one for the tokens that are read."""
    if self.scan_layers:
      return self._scan(x, angles, layout, read)
    *before, last = self.layers
    for layer in before:
      x, _ = layer(x, angles, layout)
    return last(x, angles, layout, read=read)[0]

  def _scan(self, x, angles, layout, read):
    if read is None:
      return self.layers(x, angles, layout)[0]
    # The last layer does something else: it is taken off the stack.
    block = self._block_type(**self._block_fields, parent=None)
    run = lambda params, *args: block.apply({"params": params}, *args)
    params = self.layers.variables["params"]
    pick = lambda part: jax.tree.map(lambda leaf: leaf[part], params)
    one = lambda x, own: run(own, x, angles, layout)
    x, _ = jax.lax.scan(one, x, pick(slice(-1)))
    return run(pick(-1), x, angles, layout, None, 0, read)[0]


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
    parents: Int[Array, "B T"] | None = None,
    read: Int[Array, "B R"] | None = None,
) -> Float[Array, "B R D"]:
  """Features of all positions or some, in `model.dtype`: see `Transformer`."""
  rows = (tokens, mask, segments, parents, read)
  return model.apply({"params": params}, *rows)


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
