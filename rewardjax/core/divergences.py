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


def gaussian_kl(
    mean: Float[Array, "*batch D"],
    log_variance: Float[Array, "*batch D"],
    reference_mean: Float[Array, "*batch D"] | None = None,
    reference_log_variance: Float[Array, "*batch D"] | None = None,
) -> Float[Array, "*batch"]:
  """Exact KL of two diagonal Gaussians in nats, summed over the last axis.

  Args:
    mean: of p.
    log_variance: of p.
    reference_mean: of q; None means 0.
    reference_log_variance: of q; None means 0, the variance 1.

  Gradient: flows through all arguments.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape(
      "gaussian_kl",
      mean=mean,
      log_variance=log_variance,
      reference_mean=reference_mean,
      reference_log_variance=reference_log_variance,
  )
  mean = masking.as_accumulator(mean)
  gap = masking.as_accumulator(log_variance)
  scale = jnp.ones_like(gap)
  if reference_mean is not None:
    mean = mean - masking.as_accumulator(reference_mean)
  if reference_log_variance is not None:
    reference = masking.as_accumulator(reference_log_variance)
    gap, scale = gap - reference, jnp.exp(-reference)
  # expm1: exp(x) - 1 - x loses every digit where the variances are close.
  spread = jnp.expm1(gap) - gap
  return 0.5 * jnp.sum(spread + jnp.square(mean) * scale, axis=-1)
