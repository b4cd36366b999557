"""Token by token: a transformer as the functions that sampling calls."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from rewardjax.models import stacking, transformer
from rewardjax.models.attention import Cache
from rewardjax.models.transformer import Transformer


class Decoder(NamedTuple):
  """Functions that continue sequences: `policies.decoding` calls them."""

  prefill: Callable
  repeat: Callable
  step: Callable
  select: Callable


def decoder(model: Transformer) -> Decoder:
  """Incremental decoding of `model`, equal to its full forward pass.

  Scanned layers should be unrolled first, with their parameters:
  `stacking.unroll`.
  """
  unrolled = model.clone(scan_layers=False, remat=False)

  def apply(params, *args, method):
    _, params = stacking.unroll(model, params)
    found, cache = unrolled.apply({"params": params}, *args, method=method)
    return transformer.logits(unrolled, params, found), cache

  def prefill(params, tokens, mask, max_len):
    batch, width = tokens.shape
    found, prompt = apply(params, tokens, mask, method="prefill")
    slots = max_len - width
    branch = unrolled.empty(batch, slots)
    written = jnp.zeros((batch, 1, slots), bool)
    index = jnp.zeros((), jnp.int32)
    return found, Cache(prompt, mask, branch, written, index)

  def repeat(cache, times):
    copy = lambda axis: lambda x: jnp.repeat(x, times, axis=axis)
    return cache._replace(
        branch=jax.tree.map(copy(2), cache.branch), mask=copy(1)(cache.mask)
    )

  def step(params, tokens, cache):
    batch, group, _ = cache.mask.shape
    found, cache = apply(
        params, tokens.reshape(batch, group, -1), cache, method="extend"
    )
    return found.reshape(batch * group, -1), cache

  return Decoder(prefill, repeat, step, _select)


def _select(cache: Cache, rows: Int[Array, " N"]) -> Cache:
  """The given branches, each with a copy of its prompt: B = N, G = 1."""
  group = cache.mask.shape[1]
  prompt = rows // group

  def tips(x):
    x = x.swapaxes(1, 2)
    return x.reshape(-1, *x.shape[2:])[rows][:, :, None]

  return Cache(
      jax.tree.map(lambda x: x[prompt], cache.prompt),
      cache.stem[prompt],
      jax.tree.map(tips, cache.branch),
      cache.mask.reshape(-1, 1, cache.mask.shape[2])[rows],
      cache.index,
  )
