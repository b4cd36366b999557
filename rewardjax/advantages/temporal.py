"""Returns and advantages over time; T is the last axis.

Only entries with `mask` True are steps of the policy. Padding, tool output
and observations in between are skipped: the recursion carries over them
unchanged, whatever they hold, and they get 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def _scan_back(step, carry, *arrays):
  """Scans `step` over the last axis from its end; stacks outputs in place."""
  arrays = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), arrays)
  _, outputs = jax.lax.scan(step, carry, arrays, reverse=True)
  return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), outputs)


def _prepare(where, rewards, mask):
  checks.same_shape(where, rewards=rewards, mask=mask)
  rewards = masking.fill_masked(rewards, mask)
  return rewards, jnp.ones(rewards.shape, bool) if mask is None else mask


def reward_to_go(
    rewards: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    discount: Scalar = 1.0,
) -> Float[Array, "*batch T"]:
  """G_t = r_t + discount * G at the next valid step.

  Args:
    rewards: of each step, in reward units; those of masked steps are ignored.
    mask: True on steps of the policy; None means all.
    discount: per valid step.

  Returns:
    Returns in reward units, float32 or wider; 0 on masked steps.

  Gradient: flows through `rewards`.
  """
  checks.probability("reward_to_go", discount=discount)
  rewards, mask = _prepare("reward_to_go", rewards, mask)

  def step(following, now):
    reward, valid = now
    current = jnp.where(valid, reward + discount * following, following)
    return current, current

  returns = _scan_back(step, jnp.zeros_like(rewards[..., 0]), rewards, mask)
  return masking.fill_masked(returns, mask)


class Gae(NamedTuple):
  """`returns` are advantages + values, the targets of the critic."""

  advantages: Float[Array, "*batch T"]
  returns: Float[Array, "*batch T"]


def gae(
    rewards: Float[Array, "*batch T"],
    values: Float[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    discount: Scalar,
    decay: Scalar,
    bootstrap: Float[Array, "*batch"] | None = None,
) -> Gae:
  """Generalised advantage estimates over the valid steps.

      delta_t = r_t + discount V_next - V_t
      A_t = delta_t + discount decay A_next

  where "next" is the next *valid* step: a value or a reward on an observation
  token in between takes no part.

  Args:
    rewards: of each step, in reward units.
    values: of the state before each step, in reward units.
    mask: True on steps of the policy; None means all.
    discount: gamma.
    decay: lambda; 0 gives the one-step error, 1 the whole return less V.
    bootstrap: V of the state after the last valid step. It must be 0 where
      the episode ended by itself; None means that all did. An episode that
      was cut off and is not bootstrapped is told that cutting it off ended it.

  Returns:
    Advantages and returns, float32 or wider; 0 on masked steps.

  Gradient: flows through `rewards`, `values` and `bootstrap`.

  References:
    Schulman et al., "High-Dimensional Continuous Control Using Generalized
      Advantage Estimation", 2016, arXiv:1506.02438.
  """
  checks.probability("gae", discount=discount, decay=decay)
  checks.same_shape("gae", rewards=rewards, values=values)
  rewards, mask = _prepare("gae", rewards, mask)
  values = masking.fill_masked(values, mask)
  dtype = jnp.promote_types(rewards.dtype, values.dtype)
  rewards, values = rewards.astype(dtype), values.astype(dtype)
  none = jnp.zeros_like(values[..., 0])
  bootstrap = none if bootstrap is None else bootstrap.astype(dtype)
  checks.same_shape("gae", one_row_of_values=none, bootstrap=bootstrap)

  def step(following, now):
    next_value, next_advantage = following
    reward, value, valid = now
    delta = reward + discount * next_value - value
    advantage = delta + discount * decay * next_advantage
    value = jnp.where(valid, value, next_value)
    advantage = jnp.where(valid, advantage, next_advantage)
    return (value, advantage), advantage

  advantages = _scan_back(step, (bootstrap, none), rewards, values, mask)
  advantages = masking.fill_masked(advantages, mask)
  return Gae(advantages, advantages + values)
