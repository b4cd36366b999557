"""Several rewards of one sample: M components, the last axis.

A component that is missing (`mask` False: unknown, not 0) says nothing about
its sample: it counts as the mean of that component over the samples of the
group that have it. Scores of other samples and other components are left as
they are. A sample without any component is unknown altogether.

Summed before they are normalised, components of a large spread drown the
others; normalised first, every component has the weight it was given.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Reward

Components = Float[Array, "*batch G M"]
ComponentMask = Bool[Array, "*batch G M"]
# (rewards, mask) of [*batch, G] -> advantages.
Estimator = Callable[[Array, Array], Array]


def _prepare(where, rewards, mask, weights):
  checks.same_shape(where, rewards=rewards, mask=mask)
  if weights.shape != rewards.shape[-1:]:
    raise ValueError(
        f"{where}: weights must be [M] for rewards [*batch, G, M], got "
        f"{weights.shape} for {rewards.shape}."
    )
  weights = masking.as_accumulator(weights)
  mask = jnp.ones(rewards.shape, bool) if mask is None else mask
  # As a row: rank promotion may be refused.
  return weights.reshape((1,) * (rewards.ndim - 1) + weights.shape), mask


def weighted_sum(
    rewards: Components,
    mask: ComponentMask | None = None,
    *,
    weights: Float[Array, " M"],
) -> Reward:
  """sum_m w_m r_m, missing components at the mean of their group.

  After a group baseline a missing component thus adds nothing. One that the
  whole group lacks is 0 for all of it.

  Args:
    rewards: whole groups; each component in its own units.
    mask: True where a component is known; None means all are.
    weights: any sign; of each component.

  Returns:
    One reward per sample, unknown where all its components are.

  Gradient: flows through `rewards`.

  Raises:
    ValueError: if the shapes do not fit.
  """
  weights, mask = _prepare("weighted_sum", rewards, mask, weights)
  mean = masking.masked_mean(rewards, mask, -2, keepdims=True)
  filled = jnp.where(mask, masking.fill_masked(rewards, mask), mean)
  return Reward(jnp.sum(weights * filled, -1), jnp.any(mask, -1))


def sum_then_normalize(
    rewards: Components,
    mask: ComponentMask | None = None,
    *,
    weights: Float[Array, " M"],
    estimator: Estimator,
) -> Float[Array, "*batch G"]:
  """Advantages of the weighted sum: one reward, as if there was but one.

  Samples with other components but the same sum become one and the same.

  Args:
    rewards: whole groups.
    mask: True where a component is known.
    weights: of each component; they act on the components' own scales.
    estimator: such as those of `advantages.group` (static).

  Gradient: flows through `rewards`.
  """
  total = weighted_sum(rewards, mask, weights=weights)
  return estimator(total.value, total.valid)


def normalize_then_sum(
    rewards: Components,
    mask: ComponentMask | None = None,
    *,
    weights: Float[Array, " M"],
    estimator: Estimator,
) -> Float[Array, "*batch G"]:
  """The weighted sum of the advantages of each component by itself.

  With a standardising estimator it does not depend on the scale or the offset
  of any component. Whiten the result over the batch if its spread must not
  grow with M.

  Args:
    rewards: whole groups.
    mask: True where a component is known; a missing one adds 0.
    weights: of each component, whatever its scale.
    estimator: such as those of `advantages.group` (static).

  Gradient: flows through `rewards`.

  References:
    Liu et al., "GDPO: Group reward-Decoupled Normalization Policy
      Optimization", 2026 (before its whitening).
  """
  weights, mask = _prepare("normalize_then_sum", rewards, mask, weights)
  swap = lambda x: jnp.swapaxes(x, -1, -2)
  advantages = swap(estimator(swap(rewards), swap(mask)))
  return jnp.sum(weights * masking.fill_masked(advantages, mask), -1)


def zscore_sum(
    rewards: Components,
    mask: ComponentMask | None = None,
    *,
    weights: Float[Array, " M"],
    ddof: int = 1,
) -> Float[Array, "*batch G"]:
  """The weighted sum of the z-scores of each component within its group.

  `normalize_then_sum` with (r - mean) / std; a component that all samples of
  a group share adds 0.

  Args:
    rewards: whole groups.
    mask: True where a component is known; a missing one adds 0.
    weights: of each component, whatever its scale.
    ddof: of the variance (static).

  Gradient: flows through `rewards`.

  References:
    "Understanding Reward Hacking in Text-to-Image Reinforcement Learning".
  """
  whiten = lambda r, m: masking.masked_whiten(r, m, -1, epsilon=0, ddof=ddof)
  return normalize_then_sum(rewards, mask, weights=weights, estimator=whiten)
