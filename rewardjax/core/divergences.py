"""KL divergence between policies: exact, and estimated from sampled tokens.

Here are *values*. What happens when one of them is minimised is another
question with other answers: see `objectives.regularizers`.
With tokens drawn from p and d = log p - log q:

    k1 = d                  unbiased, high variance, can be negative
    k2 = d^2 / 2            biased, low variance
    k3 = exp(-d) - 1 + d    unbiased, low variance, never negative

Fill masked log-probs *before* the call: a NaN kept out of the sum only
afterwards still makes the gradient NaN, since 0 * nan is nan.

References:
  Schulman, "Approximating KL Divergence", 2020.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def k1(
    log_probs: Float[Array, "*shape"],
    reference_log_probs: Float[Array, "*shape"],
) -> Float[Array, "*shape"]:
  """log p - log q at the sampled token; E_p[k1] = KL(p || q), in nats."""
  checks.same_shape(
      "k1", log_probs=log_probs, reference_log_probs=reference_log_probs
  )
  log_probs = masking.as_accumulator(log_probs)
  return log_probs - masking.as_accumulator(reference_log_probs)


def k2(
    log_probs: Float[Array, "*shape"],
    reference_log_probs: Float[Array, "*shape"],
) -> Float[Array, "*shape"]:
  """(log p - log q)^2 / 2: KL(p || q) up to third order in log p - log q."""
  return 0.5 * jnp.square(k1(log_probs, reference_log_probs))


def k3(
    log_probs: Float[Array, "*shape"],
    reference_log_probs: Float[Array, "*shape"],
    *,
    bound: Scalar = 20.0,
) -> Float[Array, "*shape"]:
  """q/p - 1 - log(q/p) >= 0; E_p[k3] = KL(p || q), in nats.

  Args:
    log_probs: log p of the sampled tokens.
    reference_log_probs: log q of the same tokens.
    bound: log(q/p) is clipped to +-bound inside the exponential only; beyond
      it the gradient is that of the linear term.
  """
  d = k1(log_probs, reference_log_probs)
  # expm1: exp(-d) - 1 loses every digit where the policies are close.
  return jnp.expm1(jnp.clip(-d, -bound, bound)) + d


def categorical_kl(
    logits: Float[Array, "*batch V"], reference_logits: Float[Array, "*batch V"]
) -> Float[Array, "*batch"]:
  """Exact KL(p || q) in nats, summed over the last axis.

  Entries with p = 0 (logit -inf) add nothing.
  """
  checks.same_shape(
      "categorical_kl", logits=logits, reference_logits=reference_logits
  )
  log_p = jax.nn.log_softmax(masking.as_accumulator(logits), axis=-1)
  log_q = jax.nn.log_softmax(masking.as_accumulator(reference_logits), axis=-1)
  present = jnp.isfinite(log_p)
  safe_p = jnp.where(present, log_p, 0.0)
  terms = jnp.exp(safe_p) * (safe_p - jnp.where(present, log_q, 0.0))
  return jnp.sum(jnp.where(present, terms, 0.0), axis=-1)
