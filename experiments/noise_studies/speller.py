"""A language model of one hidden layer that sees every place at once.

Small enough that a study of many seeds compiles in seconds; it spells answers
of at most T tokens after prompts of P tokens, and decodes like a transformer.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rewardjax.policies.decoding import Decoder
from rewardjax.types import Rollouts


class Speller(NamedTuple):
  """h_t = tanh(prompt + tokens before t + bias_t), logits_t = h_t out_t.

  prompt, said: what each token at each place adds to the hidden layer.
  """

  prompt: Float[Array, "P V D"]
  said: Float[Array, "T V D"]
  bias: Float[Array, "T D"]
  out: Float[Array, "T D V"]


def init(
    key: Key[Array, ""], *, prompt: int, length: int, vocab: int, width: int
) -> Speller:
  """Random inner weights; every token is equally likely. `key` is consumed."""
  normal = jax.random.normal(key, (prompt + length, vocab, width))
  normal *= (prompt + length) ** -0.5
  return Speller(
      normal[:prompt],
      normal[prompt:],
      jnp.zeros((length, width)),
      jnp.zeros((length, width, vocab)),
  )


def _read(params, prompts, mask):
  """What the prompts add, `[B, D]`."""
  places = jnp.arange(prompts.shape[1])
  found = params.prompt[places[None], prompts]
  return jnp.sum(jnp.where(mask[..., None], found, 0.0), axis=1)


def hidden(params: Speller, rollouts: Rollouts) -> Float[Array, "B G T D"]:
  """The layer that predicts each token; the first ones saw no answer yet."""
  tokens = rollouts.tokens
  places = jnp.arange(tokens.shape[-1])
  said = params.said[places[None, None], tokens]
  said = jnp.where(rollouts.mask[..., None], said, 0.0)
  # Shifted, not subtracted: rounding would let a token see itself.
  said = jnp.roll(said, 1, axis=-2).at[..., 0, :].set(0.0)
  before = jnp.cumsum(said, axis=-2)
  base = _read(params, rollouts.prompts, rollouts.prompt_mask)
  return jnp.tanh(base[:, None, None] + before + params.bias[None, None])


def logits(params: Speller, rollouts: Rollouts) -> Float[Array, "B G T V"]:
  """Of every next token of given answers."""
  return jnp.einsum("bgtd,tdv->bgtv", hidden(params, rollouts), params.out)


class _Cache(NamedTuple):
  inner: Float[Array, "N D"]
  place: Int[Array, ""]


def decoder() -> Decoder:
  """The four functions that `policies.decoding` and `search.beam` call."""

  def at(params, cache):
    here = lambda x: jnp.take(x, cache.place, axis=0, mode="clip")
    layer = jnp.tanh(cache.inner + here(params.bias)[None])
    return layer @ here(params.out), cache

  def prefill(params, tokens, mask, max_len):
    del max_len  # sums need no room
    inner = _read(params, tokens, mask)
    return at(params, _Cache(inner, jnp.zeros((), jnp.int32)))

  def step(params, tokens, cache):
    said = jnp.take(params.said, cache.place, axis=0, mode="clip")
    return at(params, _Cache(cache.inner + said[tokens], cache.place + 1))

  def repeat(cache, times):
    return cache._replace(inner=jnp.repeat(cache.inner, times, axis=0))

  def select(cache, rows):
    return cache._replace(inner=cache.inner[rows])

  return Decoder(prefill, repeat, step, select)
