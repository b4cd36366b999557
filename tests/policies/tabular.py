"""A bigram language model, small enough that every sequence can be listed."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.policies import laws
from rewardjax.policies.decoding import Decoder

VOCAB = 5
# logits[previous, next]
LOGITS = jnp.array(
    np.random.default_rng(0).normal(size=(VOCAB, VOCAB)), jnp.float32
)


def decoder(on_step: Callable = lambda: None) -> Decoder:
  """`params` are logits[previous, next]; the cache counts what was read."""

  def prefill(params, tokens, mask, max_len):
    del max_len
    return params[tokens[:, -1]], jnp.sum(mask, axis=1)

  def step(params, tokens, cache):
    jax.debug.callback(on_step)
    return params[tokens], cache + 1

  return Decoder(
      prefill,
      lambda cache, n: jnp.repeat(cache, n, axis=0),
      step,
      lambda cache, rows: cache[rows],
  )


def sequence_probabilities(first, length, law, stop_tokens):
  """Probability of each completion, by listing: {tokens up to stop: p}."""
  log_p = jax.jit(laws.law_logits, static_argnums=0)(law, LOGITS)
  log_p = np.asarray(log_p, np.float64)
  found = {}
  for sequence in itertools.product(range(VOCAB), repeat=length):
    previous, total, kept = first, 0.0, []
    for token in sequence:
      total += log_p[previous, token]
      kept.append(token)
      if token in stop_tokens:
        break
      previous = token
    found[tuple(kept)] = np.exp(total)
  return {tokens: p for tokens, p in found.items() if p > 0}
