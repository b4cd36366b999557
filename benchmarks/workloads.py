"""Models, batches and bounds that benchmarks share."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import PyTree

from benchmarks import scaling
from rewardjax.models import pretrained, transformer
from rewardjax.training.memory import Batch
from rewardjax.training.step import cast_floats

# Fields of `Transformer`. "smollm2" is SmolLM2-135M, read from its file.
MODELS = {
    "test": dict(
        vocab_size=19, width=16, num_layers=1, num_heads=2, mlp_width=24
    ),
    "tiny": dict(
        vocab_size=259, width=128, num_layers=4, num_heads=4, mlp_width=384
    ),
    "smollm2": None,
    "qwen3-1.7b": scaling.MODELS["qwen3-1.7b"],
}
BATCH = Batch(num_prompts=8, group_size=8, prompt_length=16, new_tokens=64)
TINY = Batch(num_prompts=2, group_size=2, prompt_length=4, new_tokens=8)


class Workload(NamedTuple):
  """A model with its parameters, and the sizes of one step."""

  model: transformer.Transformer
  params: PyTree
  batch: Batch


def load(
    name: str,
    batch: Batch,
    *,
    dtype: DTypeLike = jnp.float32,
    remat: bool = False,
) -> Workload:
  """A model of `MODELS`; parameters are float32 and, unless read, random."""
  fields = MODELS[name]
  if fields is None:
    path = pretrained.find(name)
    return Workload(*pretrained.load(path, dtype=dtype, remat=remat), batch)
  model = transformer.Transformer(**fields, dtype=dtype, remat=remat)
  one = jnp.zeros((1, 2), jnp.int32)
  params = jax.jit(model.init)(jax.random.key(0), one, one == 0)["params"]
  return Workload(model, params, batch)


def prompts_of(workload: Workload):
  """Random prompts of full length, and their mask."""
  batch = workload.batch
  shape = (batch.num_prompts, batch.prompt_length)
  vocab_size = workload.model.vocab_size
  prompts = jax.random.randint(jax.random.key(1), shape, 0, vocab_size)
  return prompts, jnp.ones(shape, bool)


def in_compute_dtype(workload: Workload, params: PyTree) -> PyTree:
  """Cast once, not at every token; nothing happens in float32."""
  return cast_floats(params, workload.model.dtype)


def matrix_entries(model: transformer.Transformer) -> int:
  """Numbers in all kernels, the embedding left out."""
  mixed = model.num_heads * model.per_head
  read = model.kv_heads * model.per_head
  layer = model.width * (2 * mixed + 2 * read + 3 * model.mlp_width)
  return model.num_layers * layer


def matmul_flops(
    model: transformer.Transformer, batch: Batch
) -> tuple[float, float]:
  """Operations that sampling and an update need at least.

  A prompt is computed once for its group; what is recomputed (remat, logits
  in the backward pass) and attention's own products are left out. The last
  token of a sample predicts nothing, so that nothing reads it.
  """
  body, head = 2 * matrix_entries(model), 2 * model.width * model.vocab_size
  samples = batch.num_prompts * batch.group_size
  read = batch.num_prompts * batch.prompt_length
  read += samples * (batch.new_tokens - 1)
  # The first token's logits are those of the prompt.
  drawn = batch.num_prompts + samples * (batch.new_tokens - 1)
  scored = samples * batch.new_tokens
  return read * body + drawn * head, 3 * (read * body + scored * head)


def matmul_rate(size: int, dtype: DTypeLike = jnp.float32) -> Callable:
  """Returns a function that times one [size, size] product: operations/s."""
  x = jnp.ones((size, size), dtype)
  product = jax.jit(jnp.matmul)
  jax.block_until_ready(product(x, x))

  def rate() -> float:
    return 2 * size**3 / seconds(product, x, x)[0]

  return rate


def seconds(function: Callable, *args):
  """Wall time of one call, and its result."""
  start = time.perf_counter()
  found = jax.block_until_ready(function(*args))
  return time.perf_counter() - start, found
