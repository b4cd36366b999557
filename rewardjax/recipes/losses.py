"""From credit to a loss: the half of a recipe that any microbatch can do."""

from collections.abc import Callable
from typing import TypedDict

import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.core import checks, divergences, masking
from rewardjax.core.masking import Mean
from rewardjax.objectives import policy_gradient, regularizers
from rewardjax.recipes.credit import Credit, require_reference
from rewardjax.types import Rollouts, Scalar

# (log_probs, behavior_log_probs, advantages, mask) -> losses, metrics; all of
# shape [B, G, T], and finite where the mask is False.
Surrogate = Callable[..., tuple[Array, dict[str, Mean]]]
Reducer = Callable[[Array, Array], Mean]


class Anchor(TypedDict, total=False):
  """Keywords of a KL loss that holds the policy near a reference.

  reference_log_probs: of the sampled tokens; None or absent is no anchor.
  kl_coefficient: loss units per nat, 0 if absent: the KL is only a metric.
  kl_estimator: its value and its gradient (static), by default those of k3
    and of KL(p || q); see the table in `objectives.regularizers`.
  """

  reference_log_probs: Float[Array, "B G T"] | None
  kl_coefficient: Scalar
  kl_estimator: regularizers.KlEstimator


def clipped(
    *,
    clip_low: Scalar,
    clip_high: Scalar,
    dual_clip: Scalar | None = None,
    ratio: Callable[..., Array] = policy_gradient.token_ratio,
) -> Surrogate:
  """The clipped surrogate of a token or sequence ratio, with its fractions."""
  clips = dict(clip_low=clip_low, clip_high=clip_high)

  def surrogate(log_probs, behavior_log_probs, advantages, mask):
    ratios = ratio(log_probs, behavior_log_probs, mask)
    # One ratio per sequence: every token repeats it.
    ratios = jnp.broadcast_to(ratios, mask.shape)
    losses = policy_gradient.clipped_surrogate(
        ratios, advantages, dual_clip=dual_clip, **clips
    )
    metrics = policy_gradient.clip_fractions(ratios, advantages, mask, **clips)
    return losses, metrics | {"ratio": Mean.of(ratios, mask)}

  return surrogate


def detached(*, low: Scalar, high: Scalar) -> Surrogate:
  """The score weighed by a truncated, held ratio."""

  def surrogate(log_probs, behavior_log_probs, advantages, mask):
    ratio = policy_gradient.token_ratio(log_probs, behavior_log_probs, mask)
    losses = policy_gradient.detached_surrogate(
        ratio, log_probs, advantages, low=low, high=high
    )
    return losses, {"ratio": Mean.of(ratio, mask)}

  return surrogate


def score() -> Surrogate:
  """The plain score, for samples of the present policy."""

  def surrogate(log_probs, behavior_log_probs, advantages, mask):
    del behavior_log_probs, mask
    return policy_gradient.score_surrogate(log_probs, advantages), {}

  return surrogate


def policy_loss(
    log_probs: Float[Array, "B G T"],
    rollouts: Rollouts,
    credit: Credit,
    surrogate: Surrogate,
    reduce: Reducer,
    *,
    reference_log_probs: Float[Array, "B G T"] | None = None,
    kl_coefficient: Scalar = 0.0,
    kl_estimator: regularizers.KlEstimator = "k3_straight_through",
) -> tuple[Mean, dict[str, Mean]]:
  """A surrogate plus a KL loss, per token, under one reducer.

  Args:
    log_probs: of the sampled tokens under the trained policy.
    rollouts: the samples, any part of the batch that `credit` belongs to.
    credit: advantages and mask.
    surrogate: such as `clipped(...)` (static).
    reduce: one of `core.reduction` (static).
    reference_log_probs: see `Anchor`, as the next two.
    kl_coefficient: loss units per nat.
    kl_estimator: the value and the gradient of the KL loss (static).

  Returns:
    The loss, and metrics over the tokens of `credit.mask`: those of the
    surrogate, `behavior_kl` (KL(mu || p), nats per token) and, with a
    reference, `reference_kl` (k3 at the sampled tokens).

  Gradient: flows through `log_probs`; exactly 0 outside `credit.mask`.
  """
  require_reference("policy_loss", reference_log_probs, kl_coefficient)
  mask = credit.mask
  checks.same_shape("policy_loss", log_probs=log_probs, mask=mask)
  log_probs = masking.fill_masked(log_probs, mask)
  behavior = masking.fill_masked(rollouts.log_probs, mask)
  advantages = jnp.broadcast_to(credit.advantages, mask.shape)
  advantages = masking.fill_masked(advantages, mask)
  losses, metrics = surrogate(log_probs, behavior, advantages, mask)
  behavior_kl = divergences.k3(behavior, log_probs)
  metrics = metrics | {"behavior_kl": Mean.of(behavior_kl, mask)}
  if reference_log_probs is not None:
    reference = masking.fill_masked(reference_log_probs, mask)
    losses = losses + kl_coefficient * regularizers.kl_loss(
        log_probs, reference, estimator=kl_estimator
    )
    reference_kl = divergences.k3(log_probs, reference)
    metrics["reference_kl"] = Mean.of(reference_kl, mask)
  return reduce(losses, mask), metrics
