"""Advantages from G samples of one prompt; G is the last axis.

Invalid samples (`mask` False: score unknown) take no part in any statistic
and get advantage 0. So does a lone sample: it has nothing to be compared with.
All functions are plain differentiable maps; objectives hold their results.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def _shifted(rewards: Array, mask: Array | None) -> Array:
  """Rewards less the largest valid one of their group; 0 where masked.

  A centred advantage does not depend on the shift, but rounding does: equal
  rewards become exact zeros, and so does everything computed from them. The
  shift is held, which leaves the gradient of a centred result as it was.
  """
  top = jnp.max(masking.fill_masked(rewards, mask, -jnp.inf), -1, keepdims=True)
  top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0.0))
  return masking.fill_masked(masking.fill_masked(rewards, mask) - top, mask)


def centered(
    rewards: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
) -> Float[Array, "*batch G"]:
  """Subtracts the mean of the group, the sample itself included.

  With n valid samples the expected policy gradient is (n - 1) / n of the
  exact one: the direction is right, the step is short. See `leave_one_out`.

  Args:
    rewards: one scalar per sample, in reward units.
    mask: True for valid samples; None means all are valid.

  Returns:
    Advantages in reward units, float32 or wider; exactly 0 for invalid
    samples, lone samples and groups of equal rewards.

  Gradient: flows through `rewards`.

  Raises:
    ValueError: if `mask` does not have the shape of `rewards`.

  References:
    Liu et al., "Understanding R1-Zero-Like Training", 2025, arXiv:2503.20783
      (Dr. GRPO).
  """
  checks.same_shape("centered", rewards=rewards, mask=mask)
  rewards = _shifted(rewards, mask)
  mean = masking.masked_mean(rewards, mask, -1, keepdims=True)
  return masking.fill_masked(rewards - mean, mask)


def leave_one_out(
    rewards: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
) -> Float[Array, "*batch G"]:
  """Subtracts from each reward the mean of the others in its group.

      A_i = r_i - sum_{j != i} r_j / (n - 1),   n = valid samples in the group

  Sample i has no part in its own baseline, so the policy gradient stays
  unbiased for n >= 2.

  Args:
    rewards: one scalar per sample, in reward units.
    mask: True for valid samples; None means all are valid.

  Returns:
    Advantages in reward units, float32 or wider; exactly 0 for invalid
    samples, lone samples and groups of equal rewards.

  Gradient: flows through `rewards`.

  Raises:
    ValueError: if `mask` does not have the shape of `rewards`.

  References:
    Kool et al., "Buy 4 REINFORCE Samples, Get a Baseline for Free!", ICLR
      workshop 2019.
    Ahmadian et al., "Back to Basics", 2024, arXiv:2402.14740 (RLOO).
  """
  checks.same_shape("leave_one_out", rewards=rewards, mask=mask)
  rewards = _shifted(rewards, mask)
  count = masking.count(rewards, mask, -1, keepdims=True)
  others = jnp.sum(rewards, axis=-1, keepdims=True) - rewards
  # maximum(): keeps the branch that is not taken finite, and its gradient.
  advantages = rewards - others / jnp.maximum(count - 1, 1)
  return masking.fill_masked(jnp.where(count > 1, advantages, 0.0), mask)


def standardized(
    rewards: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
    *,
    epsilon: Scalar = 1e-6,
    ddof: int = 1,
) -> Float[Array, "*batch G"]:
  """(r - mean) / (std + epsilon) within each group (GRPO).

  Invariant to r -> a r + c with a > 0, up to epsilon: a correction of the
  rewards that is affine and constant within the group changes nothing.
  The std also changes what is maximised: see `standardization_gain`.

  Args:
    rewards: one scalar per sample, in reward units.
    mask: True for valid samples; None means all are valid.
    epsilon: added to the std.
    ddof: the variance is divided by n - ddof (static).

  Returns:
    Unitless advantages, float32 or wider; exactly 0 for invalid samples, lone
    samples and groups of equal rewards (max == min, no tolerance).

  Gradient: flows through `rewards`; 0 where the result is exactly 0 above.

  Raises:
    ValueError: if `mask` does not have the shape of `rewards`.

  References:
    Shao et al., "DeepSeekMath", 2024, arXiv:2402.03300 (GRPO).
  """
  advantages = centered(rewards, mask)
  variance = masking.masked_variance(
      _shifted(rewards, mask), mask, -1, keepdims=True, ddof=ddof
  )
  # sqrt has no derivative at 0.
  std = jnp.sqrt(jnp.where(variance > 0, variance, 1.0))
  return jnp.where(variance > 0, advantages / (std + epsilon), 0.0)


def batch_scaled(
    rewards: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
    *,
    epsilon: Scalar = 1e-6,
    ddof: int = 1,
) -> Float[Array, "*batch G"]:
  """Centred by the mean of the group, scaled by one std of the whole batch.

  The std is that of all valid rewards of all groups, not of the centred ones.
  It couples the groups: call it on the whole batch, never on microbatches.

  Args:
    rewards: one scalar per sample, in reward units.
    mask: True for valid samples; None means all are valid.
    epsilon: added to the std.
    ddof: the variance is divided by n - ddof (static).

  Returns:
    Unitless advantages, float32 or wider; exactly 0 for invalid samples, lone
    samples and groups of equal rewards.

  Gradient: flows through `rewards`.

  Raises:
    ValueError: if `mask` does not have the shape of `rewards`.

  References:
    Liu et al., "Tricks or Traps?", 2025, arXiv:2508.08221 (Lite PPO).
  """
  advantages = centered(rewards, mask)
  variance = masking.masked_variance(rewards, mask, ddof=ddof)
  std = jnp.sqrt(jnp.where(variance > 0, variance, 1.0))
  return jnp.where(variance > 0, advantages / (std + epsilon), 0.0)


def constant_baseline(
    rewards: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
    *,
    baseline: Scalar | Float[Array, "*#batch #G"] = 0.0,
) -> Float[Array, "*batch G"]:
  """r - baseline, and 0 for invalid samples.

  Args:
    rewards: one scalar per sample, in reward units.
    mask: True for valid samples; None means all are valid.
    baseline: a number, or anything known before sampling, such as a running
      mean per prompt `[B, 1]`.

  Gradient: flows through `rewards` and `baseline`.
  """
  checks.same_shape("constant_baseline", rewards=rewards, mask=mask)
  rewards = masking.fill_masked(rewards, mask)
  return masking.fill_masked(rewards - baseline, mask)


def bernoulli_standardized(
    rewards: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
) -> Float[Array, "*batch G"]:
  """Standardises corrected binary rewards by the std of the *clean* ones.

      A_i = (r_i - p) / sqrt(p (1 - p)),   p = clip(mean r, 1/(2n), 1 - 1/(2n))

  For rewards whose expectation is 0 or 1 but whose values are not, such as
  backward-corrected verdicts: their own std would contain the noise and give
  easy and hard prompts too little weight. The clip keeps a group of equal
  rewards finite but, unlike in `standardized`, not 0: its p is not its mean.

  Args:
    rewards: unbiased estimates of 0 or 1, one per sample.
    mask: True for valid samples; None means all are valid.

  Returns:
    Unitless advantages, float32 or wider; 0 for invalid and lone samples.

  Gradient: flows through `rewards`, and through p where it is not clipped.

  Raises:
    ValueError: if `mask` does not have the shape of `rewards`.
  """
  checks.same_shape("bernoulli_standardized", rewards=rewards, mask=mask)
  rewards = masking.fill_masked(rewards, mask)
  count = masking.count(rewards, mask, -1, keepdims=True)
  edge = 0.5 / jnp.maximum(count, 1)
  p = masking.masked_mean(rewards, mask, -1, keepdims=True)
  p = jnp.clip(p, edge, 1 - edge)
  advantages = (rewards - p) / jnp.sqrt(p * (1 - p))
  return masking.fill_masked(jnp.where(count > 1, advantages, 0.0), mask)


def standardization_gain(
    success_rate: Float[Array, "*shape"] | float, n: int, *, ddof: int = 1
) -> Float[Array, "*shape"]:
  """What `standardized` multiplies the gradient of the success rate by.

  With binary rewards, n samples and success rate q, the expected policy
  gradient is f_n(q) times that of q, where

      f_n(q) = E[A | right] - E[A | wrong]

  over the Binomial(n - 1, q) successes of the others; 1/sqrt(q(1-q)) for
  large n. It is what `standardized` maximises instead of q itself.

  Args:
    success_rate: q, in [0, 1].
    n: samples per group (static), at least 2.
    ddof: of the std; epsilon is taken as 0.
  """
  checks.at_least("standardization_gain", 2, n=n)
  checks.probability("standardization_gain", success_rate=success_rate)
  q = jnp.asarray(success_rate, float)[..., None]
  k = np.arange(n)  # successes among the others
  log_choose = [
      math.lgamma(n) - math.lgamma(i + 1) - math.lgamma(n - i) for i in k
  ]
  # With k + 1 of n right, a right one gets sqrt((n-ddof)(n-k-1) / (n(k+1))).
  right = np.sqrt((n - ddof) * (n - 1 - k) / (n * (k + 1)))
  wrong = np.sqrt((n - ddof) * k / (n * (n - k)))
  row = lambda x: jnp.asarray(x, q.dtype).reshape((1,) * (q.ndim - 1) + (n,))
  xlogy, xlog1py = jax.scipy.special.xlogy, jax.scipy.special.xlog1py
  log_pmf = row(log_choose) + xlogy(row(k), q) + xlog1py(row(n - 1 - k), -q)
  return jnp.sum(jnp.exp(log_pmf) * row(right + wrong), axis=-1)


def informative(
    outcomes: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
) -> Bool[Array, "*batch"]:
  """True for groups whose valid outcomes differ (dynamic sampling).

  Decided on the *outcome* and by max > min: a length penalty, or any shaped
  score, varies inside a group of failures and would let it through, and a
  window on the mean lets through a group of equal fractional scores. Drop
  whole groups only: dropping the samples at the mean would take the one that
  leave-one-out lives on.

  Args:
    outcomes: what the verifier said, before shaping.
    mask: True for valid samples; None means all are valid.

  References:
    Yu et al., "DAPO", 2025, arXiv:2503.14476, dynamic sampling.
  """
  checks.same_shape("informative", outcomes=outcomes, mask=mask)
  return ~masking.is_constant(outcomes, mask, -1)[..., 0]
