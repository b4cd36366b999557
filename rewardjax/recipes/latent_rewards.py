"""Reward models that answer with more than one number.

A distribution over grades, a user's ideal point, a user's latent, a mixture
of distributions. `(outputs of the model, ...) -> (Mean, metrics)`.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rewardjax.core import checks, divergences, links, masking
from rewardjax.core.masking import Mean
from rewardjax.models.set_encoder import Gaussian
from rewardjax.reward_models import latent, ordinal, pairwise, zero_inflated
from rewardjax.types import Scalar


def oprm(
    chosen: Float[Array, "N K"],
    rejected: Float[Array, "N K"],
    levels: tuple[Int[Array, " N"], Int[Array, " N"]] | None = None,
    labelled: Bool[Array, " N"] | None = None,
    mask: Bool[Array, " N"] | None = None,
    *,
    num_levels: int = 3,
    mode: ordinal.Mode = "flood",
) -> tuple[Mean, dict[str, Mean]]:
  """-log P(preference), and the level of both items where it is known.

  Args:
    chosen: logits of K grades.
    rejected: of the rejected item.
    levels: of chosen and rejected, 0 .. num_levels - 1; read only where
      `labelled`. A pair whose chosen item has the lower level is left out.
    labelled: True where levels are known; None: everywhere if given.
    mask: True for real pairs.
    num_levels: regions of the grades (static).
    mode: of `ordinal.region_mask` (static).

  Returns:
    The loss, and `contradictory`, the share of pairs left out.

  Gradient: flows through both logits.

  References:
    "Learning Ordinal Probabilistic Reward from Preferences", 2025.
  """
  size = chosen.shape[:-1]
  mask = jnp.ones(size, bool) if mask is None else mask
  if levels is None:
    losses = -ordinal.preference_log_prob(chosen, rejected, mask=mask)
    return Mean.of(losses, mask), {}
  known = jnp.ones(size, bool) if labelled is None else labelled
  wrong = known & (levels[0] < levels[1])
  # What is unlabelled or contradictory gets the full triangle.
  read = [jnp.where(known & ~wrong, level, 0) for level in levels]
  region = ordinal.region_mask(
      *read, num_grades=chosen.shape[-1], num_levels=num_levels, mode=mode
  )
  grade = jnp.arange(chosen.shape[-1])
  higher = grade[:, None] > grade[None, :]
  region = jnp.where((known & ~wrong)[:, None, None], region, higher[None])
  kept = mask & ~wrong
  losses = -ordinal.preference_log_prob(chosen, rejected, region, kept)
  share = Mean.of(wrong.astype(jnp.float32), mask)
  return Mean.of(losses, kept), {"contradictory": share}


def pal(
    chosen: Float[Array, "N D"],
    rejected: Float[Array, "N D"],
    user_logits: Float[Array, "N K"],
    prototypes: Float[Array, "K D"],
    mask: Bool[Array, " N"] | None = None,
    *,
    temperature: Scalar = 1.0,
    threshold: Scalar = 1.0,
) -> tuple[Mean, dict[str, Mean]]:
  """Hinge on how much nearer the chosen item is to the user's ideal point.

  Args:
    chosen: embedded items.
    rejected: embedded items.
    user_logits: of the user of each pair, over K prototypes; they need a
      much larger learning rate than the rest.
    prototypes: ideal points of pure users.
    mask: True for real pairs.
    temperature: of the mixture.
    threshold: distance beyond which a pair is left alone.

  Returns:
    The loss, and `accuracy`, the share of margins above 0.

  Gradient: flows through all but the mask.

  References:
    Chen et al., "PAL: Pluralistic Alignment Framework for Learning from
      Heterogeneous Preferences", 2024, arXiv:2406.08469 (PAL-A).
  """
  ideal = _ideal_of_users(user_logits, prototypes, mask, temperature)
  margin = latent.ideal_point_reward(
      chosen, ideal, mask
  ) - latent.ideal_point_reward(rejected, ideal, mask)
  losses = masking.fill_masked(links.hinge(margin, threshold=threshold), mask)
  right = (margin > 0).astype(jnp.float32)
  return Mean.of(losses, mask), {"accuracy": Mean.of(right, mask)}


def _ideal_of_users(logits, prototypes, mask, temperature):
  if mask is not None:
    wide = jnp.broadcast_to(mask[:, None], logits.shape)
    logits = masking.fill_masked(logits, wide)
  weights = latent.mixture_weights(logits, temperature=temperature)
  return latent.ideal_point(weights, prototypes)


def pal_angular(
    chosen: Float[Array, "N D"],
    rejected: Float[Array, "N D"],
    user_logits: Float[Array, "N K"],
    prototypes: Float[Array, "N K D"],
    log_scale: Scalar,
    mask: Bool[Array, " N"] | None = None,
    *,
    temperature: Scalar = 1.0,
) -> tuple[Mean, dict[str, Mean]]:
  """Cross-entropy of angles to an ideal point that depends on the prompt.

  Args:
    chosen: embedded items.
    rejected: embedded items.
    user_logits: of the user of each pair, over K prototypes.
    prototypes: what pure users like best at the prompt of each pair.
    log_scale: of the cosines, learned; 0 is a scale of 1, at most 100.
    mask: True for real pairs.
    temperature: of the mixture.

  Returns:
    The loss, and `accuracy`, the share of margins above 0.

  Gradient: flows through all but the mask.

  References:
    As `pal` (PAL-B).
  """
  if mask is not None:
    wide = jnp.broadcast_to(mask[:, None, None], prototypes.shape)
    prototypes = masking.fill_masked(prototypes, wide)
  ideal = _ideal_of_users(user_logits, prototypes, mask, temperature)
  margin = latent.angular_reward(
      chosen, ideal, log_scale, mask
  ) - latent.angular_reward(rejected, ideal, log_scale, mask)
  right = (margin > 0).astype(jnp.float32)
  losses = pairwise.pairwise_logistic(margin, mask)
  return Mean.of(losses, mask), {"accuracy": Mean.of(right, mask)}


def vpl(
    diff: Float[Array, "U Q"],
    posterior: Gaussian,
    mask: Bool[Array, "U Q"] | None = None,
    *,
    coefficient: Scalar,
    anneal: Scalar = 1.0,
) -> tuple[Mean, dict[str, Mean]]:
  """Bradley-Terry given a latent of each user, and the price of the latent.

  Args:
    diff: r(chosen, z) - r(rejected, z), z drawn from `posterior`, of Q pairs
      of each of U users.
    posterior: of the users' latents, from other pairs of theirs.
    mask: True for real pairs.
    coefficient: of the KL to N(0, I).
    anneal: its schedule, `latent.kl_anneal`.

  Returns:
    The loss per user, and `kl`, near 0 where the latent has collapsed.

  Gradient: flows through `diff` and `posterior`.

  References:
    Poddar et al., "Personalizing Reinforcement Learning from Human Feedback
      with Variational Preference Learning", 2024, arXiv:2408.10075.
  """
  checks.at_least("vpl", 0.0, coefficient=coefficient)
  losses = pairwise.pairwise_logistic(diff, mask)
  kl = divergences.gaussian_kl(posterior.mean, posterior.log_variance)
  per_user = masking.masked_mean(losses, mask, -1) + coefficient * anneal * kl
  users = None if mask is None else jnp.any(mask, axis=-1)
  return Mean.of(per_user, users), {"kl": Mean.of(kl, users)}


def optdist(
    key: Key[Array, ""],
    outputs: Float[Array, "N L 3"],
    gate: Float[Array, "N L"],
    targets: Float[Array, " N"],
    mask: Bool[Array, " N"] | None = None,
    *,
    temperature: Scalar = 1.0,
    **gate_options: Scalar,
) -> tuple[Mean, dict[str, Mean]]:
  """A drawn expert's likelihood, and a gate taught which expert fits.

  Args:
    key: consumed by the draw of experts.
    outputs: three numbers of each of L zero-inflated log-normals.
    gate: logits over experts.
    targets: y >= 0.
    mask: True for real rows.
    temperature: of the straight-through draw.
    **gate_options: of `zero_inflated.gate_loss`.

  Returns:
    The loss, and `largest`, the share of the most used expert: near 1 the
    gate has collapsed.

  Gradient: flows through `outputs` and `gate`; the gate's targets are held.

  References:
    "OptDist: Learning Optimal Distribution for Customer Lifetime Value
      Prediction", 2024.
  """
  wide = jnp.broadcast_to(targets[:, None], gate.shape)
  rows = None if mask is None else jnp.broadcast_to(mask[:, None], gate.shape)
  losses = zero_inflated.negative_log_likelihood(
      zero_inflated.read(outputs, rows), wide, rows
  )
  gate = masking.fill_masked(gate, rows)
  picked = zero_inflated.select(key, gate, temperature=temperature)
  total = jnp.sum(picked * losses, axis=-1)
  total += zero_inflated.gate_loss(gate, losses, mask, **gate_options)
  used = zero_inflated.straight_through(gate)
  shares = masking.masked_mean(used, rows, 0)
  return Mean.of(total, mask), {
      "largest": Mean(jnp.max(shares), jnp.ones(()))
  }
