"""Advantages without the few that would decide the whole step."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def whiten_without_outliers(
    advantages: Float[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    *,
    threshold: Scalar = 3.0,
) -> Float[Array, "*shape"]:
  """z = (A - mean) / std over everything, and 0 where |z| > threshold.

  Statistics are those of the whole batch: in a group of n samples a lone
  success has z = sqrt(n - 1) and would be dropped from n = 11 on, which is
  the very sample to learn from. Never call it on microbatches.

  Args:
    advantages: per token or per sample, in any unit.
    mask: True for valid entries. A valid entry that is not finite takes no
      part in the statistics and gets 0.
    threshold: in standard deviations (ddof 0).

  Returns:
    Unitless advantages, float32 or wider; 0 where masked, where dropped, and
    where all are equal. What is dropped is not made up for: the rest keeps
    the mean and the std that the outlier has shaped.

  Gradient: flows through entries that are kept.

  Raises:
    ValueError: if shapes differ, or `threshold` is not positive.

  References:
    "R1-Reward: Training Multimodal Reward Model Through Stable
      Reinforcement Learning" (StableReinforce). Differs from its released
      code, which compares standardised values with bounds of raw ones.
  """
  where = "whiten_without_outliers"
  checks.same_shape(where, advantages=advantages, mask=mask)
  checks.within(where, 0.0, low_open=True, threshold=threshold)
  usable = jnp.isfinite(advantages)
  usable = usable if mask is None else usable & mask
  z = masking.masked_whiten(advantages, usable, epsilon=0.0, ddof=0)
  return jnp.where(jnp.abs(z) <= threshold, z, 0.0)
