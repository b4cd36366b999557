"""Reward models from comparisons of which many are wrong.

`(differences, ...) -> (Mean, metrics)`; a difference is r(chosen) -
r(rejected) of each pair. To be minimised with `reward_models.fitting.fit`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PyTree

from rewardjax.core import checks
from rewardjax.core.masking import Mean
from rewardjax.noise import selection
from rewardjax.reward_models import contrastive, pairwise, spread
from rewardjax.types import Scalar

Pairs = Float[Array, " N"]


def crm(
    first_diff: Pairs,
    second_diff: Pairs,
    mask: Bool[Array, " N"] | None = None,
    *,
    keep: Scalar,
) -> tuple[Mean, dict[str, Mean]]:
  """Two reward models, each learning from what the other finds easy.

  Args:
    first_diff: r(chosen) - r(rejected) of the one model, or a difference of
      implicit rewards.
    second_diff: of the other, on the same pairs.
    mask: True for real pairs.
    keep: share that both keep, such as `selection.keep_schedule`'s.

  Returns:
    The sum of both mean losses over kept pairs, and `overlap`, the share of
    kept pairs that both keep.

  Gradient: flows through both differences, not through the selection.

  References:
    "Two Minds Better Than One: Collaborative Reward Modeling for LLM
      Alignment", 2025.
  """
  first = pairwise.pairwise_logistic(first_diff, mask)
  second = pairwise.pairwise_logistic(second_diff, mask)
  chosen = selection.co_teaching_weights(first, second, mask, keep=keep)
  total = jnp.sum(chosen.first * first) + jnp.sum(chosen.second * second)
  kept = jnp.sum(chosen.first)
  both = jnp.sum(chosen.first * chosen.second)
  return Mean(total, kept), {"overlap": Mean(both, kept)}


def secrets_rm(
    diff: Pairs,
    strength: Pairs,
    mask: Bool[Array, " N"] | None = None,
    *,
    views: tuple[Float[Array, "N H"], Float[Array, "N H"]] | None = None,
    contrast: Scalar = 0.1,
    temperature: Scalar = 0.05,
    **shares: Scalar,
) -> tuple[Mean, dict[str, Mean]]:
  """Bradley-Terry, every pair treated by how strongly an ensemble prefers it.

  Args:
    diff: r(chosen) - r(rejected), as the pairs were listed.
    strength: mean margin of an ensemble, `ensembles.preference_strength`.
    mask: True for real pairs.
    views: features of each pair under two dropout masks, for the contrastive
      term; None leaves it out.
    contrast: its weight.
    temperature: of its softmax.
    **shares: arguments of `selection.quantile_relabel`.

  Returns:
    The loss, and `flipped` and `dropped`, the shares so treated.

  Gradient: flows through `diff` and `views`.

  References:
    Wang et al., "Secrets of RLHF in Large Language Models Part II: Reward
      Modeling", 2024, arXiv:2401.06080.
  """
  treated = selection.quantile_relabel(strength, mask, **shares)
  losses = pairwise.pairwise_logistic(diff, mask, **treated._asdict())
  kept = treated.weight if mask is None else jnp.where(mask, treated.weight, 0)
  loss = Mean(jnp.sum(losses), jnp.sum(kept))
  if views is not None:
    apart = contrastive.info_nce(*views, mask, temperature=temperature)
    mean = Mean.of(apart, mask).value
    loss = Mean(loss.total + contrast * mean * loss.weight, loss.weight)
  metrics = {
      "flipped": Mean.of((treated.target == 0).astype(jnp.float32), mask),
      "dropped": Mean.of((treated.weight == 0).astype(jnp.float32), mask),
  }
  return loss, metrics


def meta_rm_params(
    rewards: Callable[[PyTree], Float[Array, "*batch K"]],
    params: PyTree,
    *,
    step_size: Scalar,
) -> PyTree:
  """Where to read a loss: there answers of today's policy lie further apart.

      theta' = theta + step_size grad J(theta)

  Minimise loss(theta') of the preference pairs in place of loss(theta). What
  fits the pairs is then theta'; theta itself lies a step back.

  Args:
    rewards: of K unlabelled answers of the current policy per prompt; J is
      the mean of their `spread.meta_difference`.
    params: theta.
    step_size: 0 gives `params`.

  Gradient: that of loss at theta' is handed to theta as it is; second
    derivatives are left out.

  Raises:
    ValueError: if `step_size` is negative.

  References:
    as `secrets_rm` (MetaRM).
  """
  checks.at_least("meta_rm_params", 0.0, step_size=step_size)
  apart = lambda p: jnp.mean(spread.meta_difference(rewards(p)))
  rise = jax.grad(apart)(jax.lax.stop_gradient(params))
  return optax.apply_updates(
      params, jax.tree.map(lambda g: step_size * g, rise)
  )
