"""How much memory one device of a mesh needs, from sizes alone.

    model = Transformer(...)        # or anything with its fields
    need = estimate(model, Batch(64, 8, 256, 512), Layout(fsdp=64))
    print(need.total / 1e9)

`benchmarks.scaling` prints these numbers beside those of the compiler, and
docs/scaling.md derives them.
"""

from typing import Any, NamedTuple

from rewardjax.core import checks


class Batch(NamedTuple):
  """Sizes of one update, and of the rollouts before it."""

  num_prompts: int = 8
  group_size: int = 8
  prompt_length: int = 128
  new_tokens: int = 128
  num_microbatches: int = 1

  @property
  def tokens(self) -> int:
    """Positions of all prompts, each read once, and of their samples."""
    one = self.prompt_length + self.group_size * self.new_tokens
    return self.num_prompts * one


class Layout(NamedTuple):
  """Sizes of the axes of a mesh."""

  data: int = 1
  fsdp: int = 1
  tensor: int = 1


class Estimate(NamedTuple):
  """Bytes on one device.

  weights: master parameters, and frozen ones under adapters.
  moments: the two of Adam.
  gradients: in the compute dtype; microbatches add them up in float32.
  copies: parameters cast to the compute dtype, adapters merged.
  gathered: two layers and a table, whole over fsdp while they are used.
  activations: what the backward pass reads, with one layer's inside.
  cache: keys and values of all samples; sampling and updates take turns.
  """

  weights: float
  moments: float
  gradients: float
  copies: float
  gathered: float
  activations: float
  cache: float

  @property
  def arguments(self) -> float:
    """What stays between steps."""
    return self.weights + self.moments

  @property
  def temporaries(self) -> float:
    """What an update needs on top."""
    return self.gradients + self.copies + self.gathered + self.activations

  @property
  def total(self) -> float:
    """The larger of an update and of sampling."""
    sampling = self.copies + self.gathered + self.cache
    return self.arguments + max(self.temporaries, sampling)


def _split(units: int, tensor: int) -> int:
  """Over how many devices `training.mesh.shard_rules` splits them."""
  return 1 if units % tensor else tensor


def layer_parameters(model: Any, tensor: int = 1) -> float:
  """Of one layer of `models.transformer.Transformer`, on one of `tensor`."""
  heads, kv_heads = model.num_heads, model.kv_heads
  width = model.width
  mixed = 2 * width * heads * model.per_head / _split(heads, tensor)
  read = 2 * width * kv_heads * model.per_head / _split(kv_heads, tensor)
  hidden = 3 * width * model.mlp_width / _split(model.mlp_width, tensor)
  small = 2 * width  # norms
  small += (heads + 2 * kv_heads) * model.per_head if model.qkv_bias else 0
  small += 2 * model.per_head if model.qk_norm else 0
  return mixed + read + hidden + small


def num_parameters(model: Any, tensor: int = 1) -> float:
  """Of the whole model, on one of `tensor` devices."""
  layers = model.num_layers * layer_parameters(model, tensor)
  tables = (1 if model.tied else 2) * model.vocab_size * model.width
  return layers + tables / _split(model.width, tensor) + model.width


def adapter_parameters(model: Any, rank: int) -> int:
  """Of LoRA on every kernel of every layer."""
  width, mixed = model.width, model.num_heads * model.per_head
  sides = 2 * (width + mixed) + 2 * (width + model.kv_heads * model.per_head)
  sides += 3 * (width + model.mlp_width)
  return model.num_layers * rank * sides


def cache_bytes_per_token(model: Any, dtype_bytes: int = 2) -> int:
  """Keys and values of one position in all layers."""
  floats = 2 * model.num_layers * model.kv_heads * model.per_head
  return floats * dtype_bytes


def inner_floats(model: Any, batch: Batch, tensor: int = 1) -> float:
  """Numbers per token that one layer keeps for its backward pass.

  Queries, keys and values before and after rotation, three copies of the
  attention scores, four of the hidden units, six of the stream.
  """
  channels = 3 * (model.num_heads + 2 * model.kv_heads) * model.per_head
  reads = batch.prompt_length + batch.new_tokens
  heads = channels + 3 * model.num_heads * reads
  heads /= _split(model.kv_heads, tensor)
  hidden = 4 * model.mlp_width / _split(model.mlp_width, tensor)
  return heads + hidden + 6 * model.width


def estimate(
    model: Any,
    batch: Batch,
    layout: Layout,
    *,
    compute_bytes: int = 2,
    remat: bool = True,
    lora_rank: int = 0,
) -> Estimate:
  """Bytes on one device for an update with Adam, float32 master weights.

  Args:
    model: a `Transformer`, or anything with its fields.
    batch: sizes of the whole batch.
    layout: of the mesh; `fsdp` and `tensor` split parameters, `data` and
      `fsdp` rows.
    compute_bytes: of a number in activations: 2 (bfloat16) or 4.
    remat: whether a layer is computed again in the backward pass.
    lora_rank: trains adapters of so many columns on frozen parameters in the
      compute dtype; 0 trains all parameters.

  Raises:
    ValueError: if a size of `batch` or `layout` is not positive.
  """
  checks.at_least("estimate", 1, **batch._asdict(), **layout._asdict())
  tensor = layout.tensor
  whole = num_parameters(model, tensor) / layout.fsdp
  trained = whole
  if lora_rank:
    # Of each pair of factors one is split by tensor, the other is not.
    trained = adapter_parameters(model, lora_rank) / layout.fsdp
  parts = batch.num_microbatches
  rows = layout.data * layout.fsdp
  tokens = batch.tokens / rows / parts
  kept = model.num_layers * tokens * model.width
  inside = tokens * inner_floats(model, batch, tensor)
  kept += inside if remat else model.num_layers * inside
  gathered = 0.0
  if layout.fsdp > 1:
    gathered = 2 * layer_parameters(model, tensor)
  if layout.fsdp * tensor > 1:
    gathered += model.vocab_size * model.width
  return Estimate(
      weights=4 * trained + (compute_bytes * whole if lora_rank else 0),
      moments=8 * trained,
      gradients=(compute_bytes if parts == 1 else compute_bytes + 4) * trained,
      copies=compute_bytes * whole if lora_rank or compute_bytes < 4 else 0.0,
      gathered=compute_bytes * gathered,
      activations=compute_bytes * kept,
      cache=batch.tokens
      / rows
      * cache_bytes_per_token(model, compute_bytes)
      / _split(model.kv_heads, tensor),
  )
