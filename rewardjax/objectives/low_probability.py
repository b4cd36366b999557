"""Rare tokens that a filter takes for real are not pushed to extinction.

The filter is the sampler's own distribution under
`SamplingLaw(min_p=...)`: the *proxy*. It has dropped what is noise, so it
gives every token that it keeps a little more than the policy does.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, divergences, masking
from rewardjax.objectives import policy_gradient
from rewardjax.types import Scalar


def lowest_tokens(
    log_probs: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    *,
    fraction: Scalar,
) -> Bool[Array, "*shape"]:
  """True on the least likely `fraction` of the valid tokens of all axes.

  The number is rounded to the nearest one, and at least 1 unless `fraction`
  is 0; tokens that tie with the last one are marked too. It couples the
  samples: call it on the whole batch, never on microbatches.

  Args:
    log_probs: of the sampled tokens.
    mask: True on tokens to choose from.
    fraction: in [0, 1].

  Gradient: none.

  Raises:
    ValueError: if shapes differ, or `fraction` is not in [0, 1].
  """
  checks.same_shape("lowest_tokens", log_probs=log_probs, mask=mask)
  checks.probability("lowest_tokens", fraction=fraction)
  mask = jnp.ones(log_probs.shape, bool) if mask is None else mask
  log_probs = jax.lax.stop_gradient(masking.as_accumulator(log_probs))
  ordered = jnp.sort(masking.fill_masked(log_probs, mask, jnp.inf).ravel())
  count = jnp.round(jnp.sum(mask, dtype=ordered.dtype) * fraction)
  last = jnp.maximum(count.astype(jnp.int32), 1) - 1
  none = jnp.asarray(fraction) <= 0
  return mask & ~none & (log_probs <= ordered[last])


def below_proxy(
    log_probs: Float[Array, "*shape"],
    proxy_log_probs: Float[Array, "*shape"],
    marked: Bool[Array, "*shape"],
) -> Bool[Array, "*shape"]:
  """True on marked tokens that the proxy keeps and finds more likely.

  Args:
    log_probs: of the sampled tokens under the trained policy.
    proxy_log_probs: of the same tokens under the proxy; -inf, or anything
      below `log_probs`, where the filter has dropped them.
    marked: candidates, such as `lowest_tokens` among negative advantages.

  Gradient: none.
  """
  checks.same_shape(
      "below_proxy",
      log_probs=log_probs,
      proxy_log_probs=proxy_log_probs,
      marked=marked,
  )
  held = jax.lax.stop_gradient((log_probs, proxy_log_probs))
  return marked & jnp.isfinite(held[1]) & (held[0] < held[1])


def protected_surrogate(
    ratio: Float[Array, "*shape"],
    log_probs: Float[Array, "*shape"],
    proxy_log_probs: Float[Array, "*shape"],
    advantages: Float[Array, "*#shape"],
    protected: Bool[Array, "*shape"],
    *,
    clip_low: Scalar,
    clip_high: Scalar,
    coefficient: Scalar = 1.0,
) -> Float[Array, "*shape"]:
  """-A ratio + coefficient k3(pi, proxy) on protected tokens, else clipped.

  With A = -1, and the proxy at c > 1 times the sampling policy, the slope of
  a protected token changes sign at the ratio

      x = (-b + sqrt(b^2 + 4 b c)) / 2,   b = coefficient

  which is where its probability comes to rest; the clipped surrogate with
  clip_low = 1 drives it to 0. At the sampling policy itself the KL term
  pushes with 1 - c only, that is with -m / (1 - m) where m is the mass that
  the filter has dropped.

  Args:
    ratio: pi / mu.
    log_probs: of the sampled tokens under the trained policy.
    proxy_log_probs: of the same tokens under the proxy. That of the sampler
      follows the policy from batch to batch; that of a frozen reference is a
      floor that does not move.
    advantages: one per token, or one per sample with a last axis of 1.
    protected: as `below_proxy` says.
    clip_low: how far below 1 the ratio counts, elsewhere.
    clip_high: how far above 1 the ratio counts, elsewhere.
    coefficient: loss units per nat.

  Gradient: flows through `ratio` and, where protected, `log_probs`; the rest
    is held.

  Raises:
    ValueError: if shapes disagree, or a Python number is negative.

  References:
    "Low-probability Tokens Sustain Exploration in Reinforcement Learning
      with Verifiable Reward" (Lp-Reg).
  """
  where = "protected_surrogate"
  checks.same_shape(
      where,
      ratio=ratio,
      log_probs=log_probs,
      proxy_log_probs=proxy_log_probs,
      protected=protected,
  )
  checks.at_least(where, 0, coefficient=coefficient)
  clipped = policy_gradient.clipped_surrogate(
      ratio, advantages, clip_low=clip_low, clip_high=clip_high
  )
  advantages = masking.as_accumulator(jax.lax.stop_gradient(advantages))
  # Both filled before the difference: a dropped token stands at -inf.
  kl = divergences.k3(
      masking.fill_masked(log_probs, protected),
      masking.fill_masked(jax.lax.stop_gradient(proxy_log_probs), protected),
  )
  free = -advantages * masking.as_accumulator(ratio) + coefficient * kl
  return jnp.where(protected, free, clipped)
