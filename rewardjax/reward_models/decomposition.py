"""One return at the end of an episode, shared out over its steps.

A model gives every step a reward; the sum is fitted to the return. Only the
sum is identified: where all episodes have T steps, a constant c more at one
step and less at another changes nothing that is measured.

References:
  Arjona-Medina et al., "RUDDER: Return Decomposition for Delayed Rewards",
    2019.
  Ren et al., "Learning Long-Term Reward Redistribution via Randomized Return
    Decomposition", 2022 (RRD).
  "Latent Reward: LLM-Empowered Credit Assignment in Episodic Reinforcement
    Learning" (LaRe).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def _check(where, step_rewards, mask, returns):
  checks.same_shape(where, step_rewards=step_rewards, mask=mask)
  checks.same_shape(where, returns=returns, episodes=step_rewards[..., 0])


def return_decomposition_loss(
    step_rewards: Float[Array, "*batch T"],
    returns: Float[Array, "*batch"],
    mask: Bool[Array, "*batch T"] | None = None,
) -> Float[Array, "*batch"]:
  """(R - sum of the step rewards)^2, per episode.

  Args:
    step_rewards: of the model; agents of one team count as further steps.
    returns: observed, in reward units.
    mask: True on real steps.

  Gradient: flows through `step_rewards`; `returns` are held.
  """
  _check("return_decomposition_loss", step_rewards, mask, returns)
  returns = masking.as_accumulator(jax.lax.stop_gradient(returns))
  return jnp.square(returns - masking.masked_sum(step_rewards, mask, -1))


def draw_subset(
    key: Key[Array, ""], mask: Bool[Array, "*batch T"], *, size: int
) -> Bool[Array, "*batch T"]:
  """`size` real steps of each row without replacement; all if fewer.

  Args:
    key: consumed.
    mask: True on real steps.
    size: K, at least 2: one step says nothing about their variance (static).
  """
  checks.at_least("draw_subset", 2, size=size)
  lots = jax.random.uniform(key, mask.shape)
  order = jnp.argsort(jnp.where(mask, lots, jnp.inf), axis=-1)
  ranks = jnp.argsort(order, axis=-1)
  return mask & (ranks < size)


def subset_decomposition_loss(
    step_rewards: Float[Array, "*batch T"],
    returns: Float[Array, "*batch"],
    subset: Bool[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
) -> Float[Array, "*batch"]:
  """The same loss from K of T steps, without bias.

      (R - T/K sum_I r)^2 - T^2 (1 - K/T) s^2 / K

  s^2 is the unbiased variance of the K step rewards: the second term is what
  the square of the first gains from sampling. Its mean over all subsets is
  `return_decomposition_loss`, and it may be negative. Only the steps of the
  subset need be computed.

  Args:
    step_rewards: of the model; read on the subset alone.
    returns: observed.
    subset: see `draw_subset`.
    mask: True on real steps.

  Gradient: flows through `step_rewards` of the subset; `returns` are held.
  """
  where = "subset_decomposition_loss"
  _check(where, step_rewards, mask, returns)
  checks.same_shape(where, step_rewards=step_rewards, subset=subset)
  subset = subset if mask is None else subset & mask
  total = masking.count(step_rewards, mask, -1)
  chosen = jnp.maximum(masking.count(step_rewards, subset, -1), 1)
  returns = masking.as_accumulator(jax.lax.stop_gradient(returns))
  scale = total / chosen
  guess = scale * masking.masked_sum(step_rewards, subset, -1)
  variance = masking.masked_variance(step_rewards, subset, -1, ddof=1)
  gained = jnp.square(total) * (1 - chosen / jnp.maximum(total, 1)) / chosen
  return jnp.square(returns - guess) - jnp.maximum(gained, 0) * variance


def fit_linear(
    factors: Float[Array, "N T D"],
    returns: Float[Array, " N"],
    mask: Bool[Array, "N T"] | None = None,
    *,
    ridge: Scalar = 0.0,
) -> Float[Array, " D"]:
  """Weights w with sum_t factors_t w closest to the return: least squares.

  Args:
    factors: D numbers per step.
    returns: observed.
    mask: True on real steps.
    ridge: penalty on |w|^2, in squared units of the summed factors; at 0 the
      shortest of all solutions.

  Raises:
    ValueError: if shapes differ or `ridge` is negative.
  """
  checks.at_least("fit_linear", 0.0, ridge=ridge)
  _check("fit_linear", factors[..., 0], mask, returns)
  spread = None
  if mask is not None:
    spread = jnp.broadcast_to(mask[..., None], factors.shape)
  sums = masking.masked_sum(factors, spread, axis=1)
  size = sums.shape[1]
  # As extra rows, not as normal equations: those square the condition.
  penalty = jnp.sqrt(jnp.asarray(ridge, sums.dtype)) * jnp.eye(size)
  rows = jnp.concatenate([sums, penalty.astype(sums.dtype)])
  values = jnp.concatenate([returns, jnp.zeros(size, returns.dtype)])
  return jnp.linalg.lstsq(rows, values.astype(sums.dtype))[0]


def match_returns(
    step_rewards: Float[Array, "*batch T"],
    returns: Float[Array, "*batch"],
    mask: Bool[Array, "*batch T"] | None = None,
) -> Float[Array, "*batch T"]:
  """Adds one constant to the steps of an episode so that they sum to R.

  Keeps the scale of the rewards from drifting while the model is trained. A
  model that says nothing gives every step R / T.

  Gradient: flows through `step_rewards` and `returns`.
  """
  _check("match_returns", step_rewards, mask, returns)
  missing = returns - masking.masked_sum(step_rewards, mask, -1)
  steps = masking.count(step_rewards, mask, -1)
  share = masking.safe_divide(missing, steps)
  filled = masking.fill_masked(step_rewards, mask)
  return masking.fill_masked(filled + share[..., None], mask)
