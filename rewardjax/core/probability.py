"""Categorical distributions given by logits; the last axis is the vocabulary.

These take logits that exist. `policies.log_probs` never materialises them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rewardjax.core import masking


def token_log_probs(
    logits: Float[Array, "*batch V"], tokens: Int[Array, "*batch"]
) -> Float[Array, "*batch"]:
  """log softmax(logits)[token], in nats, float32 or wider."""
  logits = masking.as_accumulator(logits)
  chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
  return chosen - jax.nn.logsumexp(logits, axis=-1)


def entropy(logits: Float[Array, "*batch V"]) -> Float[Array, "*batch"]:
  """- sum_v p log p in nats; entries of -inf have p = 0 and add nothing."""
  logits = masking.as_accumulator(logits)
  log_p = jax.nn.log_softmax(logits, axis=-1)
  finite = jnp.isfinite(log_p)
  safe = jnp.where(finite, log_p, 0.0)
  return -jnp.sum(jnp.where(finite, jnp.exp(safe) * safe, 0.0), axis=-1)
