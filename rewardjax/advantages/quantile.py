"""Advantages that know the order of the rewards and nothing else."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking, statistics


def gaussian_quantile(
    rewards: Float[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
    *,
    unit_variance: bool = False,
) -> Float[Array, "*batch G"]:
  """The normal quantile of each reward's rank in its group.

      A_i = Phi^-1((rank_i + 1/2) / n),   rank = 0 .. n - 1 ascending

  Optimal transport of the group's rewards to N(0, 1) in one dimension: an
  outlier counts no more than the largest of n normal numbers does. Equal
  rewards share the mean of their quantiles, so that advantages sum to 0 and
  no order is invented among them. Unmoved by any increasing map of rewards.

  Args:
    rewards: one scalar per sample, in any unit.
    mask: True for valid samples, n of them; None means all are valid.
    unit_variance: whether to divide by the standard deviation of n quantiles
      without ties, below 1 for finite n (static).

  Returns:
    Unitless advantages, float32 or wider; exactly 0 for invalid samples, lone
    samples and groups of equal rewards.

  Gradient: none; the result is piecewise constant.

  Raises:
    ValueError: if `mask` does not have the shape of `rewards`.

  References:
    "OpenVLThinkerV2" (Gaussian GRPO); offset and ties are reconstructed.
  """
  checks.same_shape("gaussian_quantile", rewards=rewards, mask=mask)
  rewards = jax.lax.stop_gradient(masking.as_accumulator(rewards))
  count = masking.count(rewards, mask, -1, keepdims=True)
  levels = _levels(count, rewards.shape[-1])
  below, not_above = statistics.tie_bounds(rewards, mask)
  places = jnp.arange(rewards.shape[-1])
  places = places.reshape((1,) * rewards.ndim + places.shape)
  shared = (places >= below[..., None]) & (places < not_above[..., None])
  # Not differences of running sums: those lose the small ones' digits.
  advantages = masking.masked_mean(
      jnp.broadcast_to(levels[..., None, :], shared.shape), shared, -1
  )
  if unit_variance:
    variance = jnp.sum(jnp.square(levels), axis=-1, keepdims=True)
    variance = masking.safe_divide(variance, count)
    std = jnp.sqrt(jnp.where(variance > 0, variance, 1.0))
    advantages = advantages / std
  # Sums of quantiles cancel up to rounding only.
  constant = masking.is_constant(rewards, mask, -1)
  return masking.fill_masked(jnp.where(constant, 0.0, advantages), mask)


def _levels(count, size):
  """Quantiles of places 0 .. size - 1 for `count` [..., 1]; 0 past count."""
  places = jnp.arange(size, dtype=count.dtype)
  places = places.reshape((1,) * (count.ndim - 1) + (size,))
  inside = places < count
  p = jnp.where(inside, (places + 0.5) / jnp.maximum(count, 1), 0.5)
  # Both tails from the lower one: exactly odd, and exact near 1.
  tail = jax.scipy.special.ndtri(jnp.minimum(p, 1 - p))
  return jnp.where(inside, jnp.where(p < 0.5, tail, -tail), 0.0)
