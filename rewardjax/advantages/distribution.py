"""Advantages that also pull the policy towards a warmer or cooler self.

With w = pi_tau / pi at the sampled tokens, E_pi[w grad log pi] is the policy
gradient of a reward of 1 under pi_tau: in logits, pi_tau - pi. So a term w in
the advantage of right samples raises (tau > 1) or lowers (tau < 1) their
entropy without a sample from any other distribution.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking, numerics
from rewardjax.types import Scalar


def exploration_temperature(
    entropy: Scalar, *, target: Scalar, warm: Scalar = 1.2, cool: Scalar = 0.8
) -> Float[Array, ""]:
  """`warm` where the entropy is at or below its target, else `cool`.

  Args:
    entropy: measured, in nats per token.
    target: in nats per token.
    warm: a temperature of at least 1.
    cool: a temperature in (0, 1].

  Raises:
    ValueError: if a Python number is out of its range.
  """
  where = "exploration_temperature"
  checks.at_least(where, 1.0, warm=warm)
  checks.within(where, 0.0, 1.0, low_open=True, cool=cool)
  low = jnp.asarray(entropy, float) <= target
  return jnp.where(low, jnp.asarray(warm, float), cool)


def exploration_weight(
    positive: Bool[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    *,
    entropy: Scalar,
    target: Scalar,
    cap: Scalar = 0.1,
) -> Float[Array, ""]:
  """How much of the advantage the pull may take: alpha in [0, 1).

      alpha = a / (1 + a),   a = min(|target - entropy|, cap) / f

  Args:
    positive: samples that are pulled: right ones, by their score.
    mask: True for valid samples; f is the share of positive ones among them.
    entropy: measured, in nats per token.
    target: in nats per token; there alpha is 0.
    cap: bounds the error that is acted upon, in nats.

  Returns:
    alpha; 0 where no valid sample is positive.

  Raises:
    ValueError: if shapes differ, or `cap` is negative.
  """
  checks.same_shape("exploration_weight", positive=positive, mask=mask)
  checks.at_least("exploration_weight", 0, cap=cap)
  error = jnp.minimum(jnp.abs(jnp.asarray(target, float) - entropy), cap)
  share = masking.masked_mean(positive.astype(error.dtype), mask)
  # a / (1 + a) with a = error / share, and nothing to divide by 0.
  return jnp.where(
      share > 0, masking.safe_divide(error, error + share), 0.0
  )


def distribution_advantages(
    advantages: Float[Array, "*batch #T"],
    tempered_log_probs: Float[Array, "*batch T"],
    log_probs: Float[Array, "*batch T"],
    positive: Bool[Array, "*batch"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    weight: Scalar,
    bound: float = 20.0,
) -> Float[Array, "*batch T"]:
  """(1 - alpha) A + alpha 1[positive] pi_tau / pi, per token.

  Args:
    advantages: one per token, or one per sample with a last axis of 1.
    tempered_log_probs: of the sampled tokens under the sampling policy at
      temperature tau: the same scorer with another law.
    log_probs: of the same tokens under the sampling policy itself.
    positive: samples that are pulled. By the score, not by the advantage:
      that of a group of right samples is 0.
    mask: True on sampled tokens.
    weight: alpha, see `exploration_weight`; 0 leaves the advantages alone.
    bound: the log-ratio is clipped to +-bound.

  Returns:
    Advantages per token, float32 or wider; 0 where masked.

  Gradient: flows through all; objectives hold advantages constant.

  Raises:
    ValueError: if shapes disagree, or `weight` is not in [0, 1].

  References:
    "Distribution-Centric Policy Optimization" (DCPO).
  """
  where = "distribution_advantages"
  checks.same_shape(
      where,
      tempered_log_probs=tempered_log_probs,
      log_probs=log_probs,
      mask=mask,
  )
  checks.broadcasts_to(where, log_probs.shape, advantages=advantages)
  checks.same_shape(where, positive=positive, samples=log_probs[..., 0])
  checks.probability(where, weight=weight)
  gap = masking.fill_masked(tempered_log_probs, mask)
  gap = gap - masking.fill_masked(log_probs, mask)
  pull = jnp.where(positive[..., None], numerics.bounded_exp(gap, bound), 0.0)
  advantages = jnp.broadcast_to(advantages, pull.shape)
  advantages = masking.fill_masked(advantages, mask)
  return masking.fill_masked((1 - weight) * advantages + weight * pull, mask)
