"""Probability ratios and policy surrogates, per token and unreduced.

Every surrogate is minimised; where the ratio is 1 its gradient is that of
`score_surrogate`, -A grad log pi. Advantages, weights and behaviour
log-probs are held constant here, in the objective. Entries that
are padding must be finite before they enter: give the ratio functions a mask.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking, numerics
from rewardjax.core.masking import Mean
from rewardjax.types import Scalar


def _log_ratio(where, log_probs, behavior_log_probs, mask):
  """log pi - log mu with mu held; 0, with gradient 0, where masked."""
  checks.same_shape(
      where,
      log_probs=log_probs,
      behavior_log_probs=behavior_log_probs,
      mask=mask,
  )
  behavior_log_probs = jax.lax.stop_gradient(behavior_log_probs)
  # Each is filled before the difference: inf - inf has a NaN gradient.
  return masking.fill_masked(log_probs, mask) - masking.fill_masked(
      behavior_log_probs, mask
  )


def token_ratio(
    log_probs: Float[Array, "*batch T"],
    behavior_log_probs: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    bound: float = 20.0,
) -> Float[Array, "*batch T"]:
  """pi / mu of each token.

  Args:
    log_probs: of the sampled tokens under the trained policy.
    behavior_log_probs: of the same tokens under the policy that drew them,
      and under the same sampling law.
    mask: True on sampled tokens; elsewhere the ratio is 1.
    bound: the log-ratio is clipped to +-bound (gradient 0 beyond).

  Gradient: flows through `log_probs`.
  """
  difference = _log_ratio("token_ratio", log_probs, behavior_log_probs, mask)
  return numerics.bounded_exp(difference, bound)


def sequence_ratio(
    log_probs: Float[Array, "*batch T"],
    behavior_log_probs: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    bound: float = 20.0,
) -> Float[Array, "*batch 1"]:
  """pi / mu of the whole sequence: the product of its token ratios.

  Args: as `token_ratio`; the bound applies to the summed log-ratio.

  Gradient: flows through `log_probs`, to every valid token alike.
  """
  difference = _log_ratio("sequence_ratio", log_probs, behavior_log_probs, mask)
  total = jnp.sum(difference, axis=-1, keepdims=True)
  return numerics.bounded_exp(total, bound)


def sequence_mean_ratio(
    log_probs: Float[Array, "*batch T"],
    behavior_log_probs: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    bound: float = 20.0,
) -> Float[Array, "*batch T"]:
  """s = (pi / mu of the sequence)^(1 / length), at every token (GSPO).

  The value is s everywhere; the derivative at a token is s with respect to
  that token's log-prob alone, sg(s) pi_t / sg(pi_t). After a mean over the
  tokens of a sequence this is the gradient of s, while advantages may still
  differ from token to token (GSPO-token).

  Args: as `token_ratio`; the bound applies to the mean log-ratio.

  Gradient: flows through `log_probs`, straight through; see above.

  References:
    Zheng et al., "Group Sequence Policy Optimization", 2025,
      arXiv:2507.18071.
  """
  difference = _log_ratio(
      "sequence_mean_ratio", log_probs, behavior_log_probs, mask
  )
  mean = masking.masked_mean(difference, mask, -1, keepdims=True)
  ratio = jax.lax.stop_gradient(numerics.bounded_exp(mean, bound))
  return ratio * jnp.exp(difference - jax.lax.stop_gradient(difference))


def score_surrogate(
    log_probs: Float[Array, "*shape"], weights: Float[Array, "*#shape"]
) -> Float[Array, "*shape"]:
  """-weight * log pi: the gradient is -weight grad log pi (REINFORCE).

  Args:
    log_probs: of the sampled tokens, in nats.
    weights: advantages, rewards or forward weights; any sign.

  Gradient: flows through `log_probs`; `weights` are held.

  References:
    Williams, "Simple statistical gradient-following algorithms for
      connectionist reinforcement learning", 1992.
  """
  checks.broadcasts_to("score_surrogate", log_probs.shape, weights=weights)
  weights = masking.as_accumulator(jax.lax.stop_gradient(weights))
  return -weights * masking.as_accumulator(log_probs)


def clipped_surrogate(
    ratio: Float[Array, "*shape"],
    advantages: Float[Array, "*#shape"],
    *,
    clip_low: Scalar,
    clip_high: Scalar,
    dual_clip: Scalar | None = None,
) -> Float[Array, "*shape"]:
  """max(-A ratio, -A clip(ratio, 1 - clip_low, 1 + clip_high)).

  The gradient stops where the ratio has already moved far enough in the
  direction of A. With A < 0 and a large ratio it never does, unless
  `dual_clip` bounds the loss by -A dual_clip.

  Args:
    ratio: pi / mu.
    advantages: one per token, or one per sample with a last axis of 1.
    clip_low: how far below 1 the ratio counts.
    clip_high: how far above 1 the ratio counts.
    dual_clip: largest ratio that counts where A < 0; above 1; None is off.

  Gradient: flows through `ratio`; `advantages` are held.

  Raises:
    ValueError: if shapes do not broadcast, or a Python number is negative,
      or dual_clip is not above 1.

  References:
    Schulman et al., "Proximal Policy Optimization Algorithms", 2017,
      arXiv:1707.06347, Eq. 7.
    Ye et al., "Mastering Complex Control in MOBA Games with Deep
      Reinforcement Learning", 2020, arXiv:1912.09729 (dual clip).
    Yu et al., "DAPO", 2025, arXiv:2503.14476 (clip_high > clip_low).
  """
  where = "clipped_surrogate"
  checks.broadcasts_to(where, ratio.shape, advantages=advantages)
  checks.at_least(where, 0, clip_low=clip_low, clip_high=clip_high)
  checks.within(where, 1.0, low_open=True, dual_clip=dual_clip)
  ratio = masking.as_accumulator(ratio)
  advantages = masking.as_accumulator(jax.lax.stop_gradient(advantages))
  clipped = jnp.clip(ratio, 1 - clip_low, 1 + clip_high)
  losses = jnp.maximum(-advantages * ratio, -advantages * clipped)
  if dual_clip is None:
    return losses
  bounded = jnp.minimum(losses, -advantages * dual_clip)
  return jnp.where(advantages < 0, bounded, losses)


def detached_surrogate(
    ratio: Float[Array, "*shape"],
    log_probs: Float[Array, "*shape"],
    advantages: Float[Array, "*#shape"],
    *,
    low: Scalar,
    high: Scalar,
) -> Float[Array, "*shape"]:
  """-sg(clip(ratio, low, high)) A log pi (CISPO).

  An importance weight, truncated but never cut off: every token keeps a
  gradient. Implementations differ in the bounds: low = 1 - 0.2 and
  high = 1 + 0.2 around 1 in one, low = 0 and high near 5 in another.

  Args:
    ratio: pi / mu.
    log_probs: of the sampled tokens under the trained policy.
    advantages: one per token, or one per sample with a last axis of 1.
    low: smallest weight.
    high: largest weight.

  Gradient: flows through `log_probs`; `ratio` and `advantages` are held.

  References:
    MiniMax, "MiniMax-M1", 2025, arXiv:2506.13585 (CISPO).
  """
  checks.same_shape("detached_surrogate", ratio=ratio, log_probs=log_probs)
  weights = jnp.clip(masking.as_accumulator(ratio), low, high)
  return score_surrogate(log_probs, weights * advantages)


def soft_gate_surrogate(
    ratio: Float[Array, "*shape"],
    advantages: Float[Array, "*#shape"],
    *,
    temperature_positive: Scalar,
    temperature_negative: Scalar,
) -> Float[Array, "*shape"]:
  """-A (4 / tau) sigmoid(tau (ratio - 1)): clipping without an edge (SAPO).

  The slope in the ratio is -A at 1 and falls off smoothly on both sides.

  Args:
    ratio: pi / mu.
    advantages: one per token, or one per sample with a last axis of 1.
    temperature_positive: tau where A > 0; larger closes the gate sooner.
    temperature_negative: tau elsewhere.

  Gradient: flows through `ratio`; `advantages` are held.

  References:
    Gao et al., "Soft Adaptive Policy Optimization", 2025, arXiv:2511.20347.
  """
  where = "soft_gate_surrogate"
  checks.broadcasts_to(where, ratio.shape, advantages=advantages)
  checks.within(
      where,
      0.0,
      low_open=True,
      temperature_positive=temperature_positive,
      temperature_negative=temperature_negative,
  )
  ratio = masking.as_accumulator(ratio)
  advantages = masking.as_accumulator(jax.lax.stop_gradient(advantages))
  tau = jnp.where(advantages > 0, temperature_positive, temperature_negative)
  tau = tau.astype(ratio.dtype)
  return -advantages * (4 / tau) * jax.nn.sigmoid(tau * (ratio - 1))


def clip_fractions(
    ratio: Float[Array, "*shape"],
    advantages: Float[Array, "*#shape"],
    mask: Bool[Array, "*shape"],
    *,
    clip_low: Scalar,
    clip_high: Scalar,
) -> dict[str, Mean]:
  """Fractions of tokens whose gradient `clipped_surrogate` stops.

  Returns:
    `clip_fraction_low` (A < 0, ratio < 1 - clip_low) and `clip_fraction_high`
    (A > 0, ratio > 1 + clip_high), both over all valid tokens, held.
  """
  checks.broadcasts_to("clip_fractions", ratio.shape, advantages=advantages)
  ratio = masking.as_accumulator(jax.lax.stop_gradient(ratio))
  low = (advantages < 0) & (ratio < 1 - clip_low)
  high = (advantages > 0) & (ratio > 1 + clip_high)
  return {
      "clip_fraction_low": Mean.of(low.astype(ratio.dtype), mask),
      "clip_fraction_high": Mean.of(high.astype(ratio.dtype), mask),
  }
