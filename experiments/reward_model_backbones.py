"""What reads a text before the reward head: three networks, or your own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from rewardjax.data.pretrained_tokenizer import load_tokenizer
from rewardjax.data.tokenizers import ByteTokenizer, Tokenizer
from rewardjax.models import heads, lora, pretrained, transformer


class Backbone(NamedTuple):
  """A network as two functions, and what they need.

  init: from a key to the parameters that are trained.
  apply: `(params, frozen, tokens [B, T], mask, segments) -> features
    [B, T, D]`; vectors [B, T, D] come in the place of tokens. Sequences of
    different segments must not see each other.
  tokenizer: None reads vectors.
  frozen: parameters that stay as they are.
  packs: whether `apply` understands segments; if not, a lane holds one
    sequence and segments say nothing.
  shares: whether `apply` goes on with `parents [B, T], places [B, Q]` and then
    returns the features of those places only; see `transformer.features`.
  chat: whether prompts are asked by the tokenizer's chat template.
  head_dim: channels of an attention head, for `mesh.shard_rules`.
  draws: whether `init` draws its values; False: they are given.
  """

  init: Callable[[Array], PyTree]
  apply: Callable[..., Array]
  tokenizer: Tokenizer | None
  frozen: PyTree = None
  packs: bool = True
  shares: bool = False
  chat: bool = False
  head_dim: int = 1
  draws: bool = True


def custom(
    init: Callable[[Array], PyTree],
    apply: Callable[..., Array],
    *,
    tokenizer: Tokenizer | None = None,
) -> Backbone:
  """A backbone of yours, that knows no segments.

  Args:
    init: from a key to parameters.
    apply: `(params, tokens [B, T], mask [B, T]) -> features [B, T, D]`. The
      last real place is read; features of a place must hang on real places
      only, or padding changes rewards.
    tokenizer: None is bytes.
  """

  def without_segments(params, frozen, tokens, mask, segments):
    del frozen, segments
    return apply(params, tokens, mask)

  return Backbone(
      init, without_segments, tokenizer or ByteTokenizer(), packs=False
  )


def make(config, width: int = 0) -> Backbone:
  """The backbone of `config.model`; of vectors, where `width` is not 0.

  Raises:
    ValueError: if there is no such pretrained model, or chat without one.
    OSError: if its file cannot be read.
  """
  options = config.model
  if width:
    return vectors()
  if options.chat and not options.pretrained:
    raise ValueError("config.model.chat needs config.model.pretrained.")
  if options.pretrained:
    return _pretrained(options, config.lora)
  sizes = ("width", "num_layers", "num_heads", "num_kv_heads", "mlp_width")
  tokenizer = ByteTokenizer()
  model = transformer.Transformer(
      vocab_size=tokenizer.vocab_size,
      dtype=jnp.dtype(options.dtype),
      remat=options.remat,
      scan_layers=options.scan_layers,
      **{name: options[name] for name in sizes},
  )
  return of_transformer(model, tokenizer)


def vectors() -> Backbone:
  """Features as they come: the head, with its hidden layers, is the model."""
  return Backbone(
      lambda key: {}, lambda params, frozen, x, mask, segments: x, None
  )


def of_transformer(
    model: transformer.Transformer, tokenizer: Tokenizer | None, **fields: Any
) -> Backbone:
  """A backbone of all its parameters, but for `fields`."""

  def init(key: Key[Array, ""]):
    tokens, mask = jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), bool)
    return model.init(key, tokens, mask)["params"]

  def apply(params, frozen, *rows):
    del frozen
    return transformer.features(model, params, *rows)

  backbone = Backbone(
      init, apply, tokenizer, shares=True, head_dim=model.per_head
  )
  return backbone._replace(**fields)


def _pretrained(options, adapters) -> Backbone:
  """Adapters of a pretrained model; all of its parameters at rank 0."""
  path = pretrained.find(options.pretrained)
  model, params = pretrained.load(
      path,
      dtype=jnp.dtype(options.dtype),
      remat=options.remat,
      scan_layers=options.scan_layers,
  )
  tokenizer = load_tokenizer(path)
  if not adapters.rank:
    return of_transformer(
        model,
        tokenizer,
        init=lambda key: params,
        chat=options.chat,
        draws=False,
    )
  parts = tuple(adapters.match)
  match = lambda path: path.endswith("kernel") and any(x in path for x in parts)

  def apply(low, frozen, *rows):
    adapted = lora.attach(frozen, low, scale=adapters.scale)
    return transformer.features(model, adapted, *rows)

  return of_transformer(
      model,
      tokenizer,
      init=lambda key: lora.init_lora(
          key, params, rank=adapters.rank, match=match
      ),
      apply=apply,
      frozen=params,
      chat=options.chat,
  )


class Model(NamedTuple):
  """A backbone with a head: texts in, readouts out.

  outputs: numbers of a readout: 1, grades, or prototypes of users.
  users: how many are known, 0 where rewards are everybody's.
  """

  backbone: Backbone
  head: heads.VectorHead
  outputs: int
  users: int = 0
  has_tie: bool = False


def init(model: Model, key: Key[Array, ""], width: int = 0) -> PyTree:
  """Parameters of one member; `key` is consumed.

  Args:
    model: static.
    key: for the backbone and the head.
    width: of vectors; 0 for tokens.
  """
  backbone_key, head_key, user_key = jax.random.split(key, 3)
  params = {"backbone": model.backbone.init(backbone_key)}
  size, kind = ((1, 1, width), jnp.float32) if width else ((1, 1), jnp.int32)
  inputs = (jnp.zeros(size, kind), jnp.ones((1, 1), bool))
  features = jax.eval_shape(
      lambda p: model.backbone.apply(
          p, model.backbone.frozen, *inputs, jnp.ones((1, 1), jnp.int32)
      ),
      params["backbone"],
  )
  pooled = jnp.zeros((1, features.shape[-1]))
  params["head"] = model.head.init(head_key, pooled)["params"]
  if model.users:
    # Equal users would pull equal prototypes alike, and never part.
    shape = (model.users, model.outputs)
    params["users"] = jax.random.normal(user_key, shape)
  if model.has_tie:
    params["tie"] = jnp.zeros(())
  return params


def features(
    model: Model, params: PyTree, frozen: PyTree, batch: dict[str, Any]
) -> Array:
  """What the head reads at every readout of a batch, [N, B, K, D]."""
  backbone, ends = model.backbone, batch["ends"]
  blocks = ends.shape[0]
  names = "tokens", "segments", "parents", "places"
  flat = lambda x: x.reshape(-1, *x.shape[2:])  # lanes of all blocks
  tokens, segments, parents, places = (flat(batch[name]) for name in names)
  rows = tokens, segments > 0, segments
  if backbone.shares:
    rows = *rows, parents, places
  found = backbone.apply(params["backbone"], frozen, *rows)
  if not backbone.shares:
    found = jnp.take_along_axis(found, places[..., None], axis=1)
  found = found.reshape(blocks, -1, found.shape[-1])
  index = ends.reshape(blocks, -1)[..., None]
  # Padding may hold anything, NaN as well; every readout stands on a token.
  taken = jnp.take_along_axis(found, index, axis=1)
  taken = jnp.where(batch["mask"].reshape(blocks, -1)[..., None], taken, 0)
  return taken.reshape(*ends.shape, -1)


def read(
    model: Model, params: PyTree, frozen: PyTree, batch: dict[str, Any]
) -> Array:
  """Outputs [N, B, K, O] of every readout of a batch; one forward pass."""
  taken = features(model, params, frozen, batch)
  return model.head.apply({"params": params["head"]}, taken)
