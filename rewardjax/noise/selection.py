"""Which noisy pairs to learn from: selected by loss or by strength.

What is selected is data: weights here carry no gradient.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking, statistics
from rewardjax.types import Scalar


def small_loss_weights(
    losses: Float[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
    *,
    keep: Scalar,
) -> Float[Array, "*batch N"]:
  """1 for the floor(keep * n) smallest of n valid losses, 0 for the others.

  A model that has not memorised them yet has the larger losses on wrong
  labels. Equal losses are taken in their order, so that the number is exact.

  Args:
    losses: of one batch, the last axis.
    mask: True for real pairs.
    keep: share kept, in [0, 1]; may be a schedule's value.

  Gradient: none.

  Raises:
    ValueError: if shapes differ or `keep` is no probability.
  """
  checks.probability("small_loss_weights", keep=keep)
  places = statistics.ranks(losses, mask, average=False)
  count = masking.count(losses, mask, -1, keepdims=True)
  number = _whole(keep, count)
  kept = (places < number).astype(places.dtype)
  return jax.lax.stop_gradient(masking.fill_masked(kept, mask))


def _whole(share, count):
  """floor(share * count); (1 - 0.33) * 100 is 67, not 66.99999."""
  return jnp.floor((share + 1e-6) * count)


class CoWeights(NamedTuple):
  """Weights for the first model and for the second."""

  first: Float[Array, "*batch N"]
  second: Float[Array, "*batch N"]


def co_teaching_weights(
    first_losses: Float[Array, "*batch N"],
    second_losses: Float[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
    *,
    keep: Scalar,
) -> CoWeights:
  """Each of two models learns from what the other finds easy.

  Compute both losses, and both gradients, with the parameters from before
  the step; a model that chose by its own losses would confirm its errors.

  Args:
    first_losses: of the first model, one per pair.
    second_losses: of the second, on the same pairs.
    mask: True for real pairs.
    keep: share kept by both.

  Gradient: none.

  References:
    Han et al., "Co-teaching: Robust Training of Deep Neural Networks with
      Extremely Noisy Labels", 2018, arXiv:1804.06872.
  """
  checks.same_shape(
      "co_teaching_weights", first=first_losses, second=second_losses
  )
  return CoWeights(
      first=small_loss_weights(second_losses, mask, keep=keep),
      second=small_loss_weights(first_losses, mask, keep=keep),
  )


def keep_schedule(
    step: Scalar, *, rate: Scalar, warmup: Scalar
) -> Float[Array, ""]:
  """1 - rate * min(1, step / warmup): all at first, then 1 - rate.

  Args:
    step: from 0.
    rate: share of wrong labels, assumed.
    warmup: steps until the full share is left out.

  Raises:
    ValueError: if `rate` is no probability or `warmup` is not positive.
  """
  checks.probability("keep_schedule", rate=rate)
  checks.within("keep_schedule", 0.0, low_open=True, warmup=warmup)
  done = jnp.minimum(jnp.asarray(step, jnp.float32) / warmup, 1.0)
  return 1 - rate * done


class Relabelled(NamedTuple):
  """What a pairwise loss is given; zero weight is a pair left out."""

  target: Float[Array, "*batch N"]
  margin: Float[Array, "*batch N"]
  weight: Float[Array, "*batch N"]


def quantile_relabel(
    strength: Float[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
    *,
    flip: Scalar = 0.0,
    drop: Scalar = 0.0,
    soften: Scalar = 0.0,
    smoothing: Scalar = 0.1,
    margin_scale: Scalar = 0.0,
) -> Relabelled:
  """Treats pairs by the quantile of their strength.

  From the weakest: a share `flip` is turned round, the next `drop` are left
  out; of the strongest, `soften` get a soft label against over-fitting.

  Args:
    strength: mean margin of an ensemble, in reward units.
    mask: True for real pairs.
    flip: share of the weakest, most likely wrong pairs.
    drop: share of those above them, too close to call.
    soften: share of the strongest.
    smoothing: e; the soft target is 1 - e.
    margin_scale: the margin is this times the strength: at least `strength`
      apart. Seen from the item that is now taken as better, so that a flipped
      pair has the margin -strength of its reversed difference.

  Returns:
    `Relabelled`, for a loss on the difference as it was listed.

  Gradient: none.

  Raises:
    ValueError: if a share is no probability or they sum to more than 1.

  References:
    Wang et al., "Secrets of RLHF in Large Language Models Part II: Reward
      Modeling", 2024, arXiv:2401.06080.
  """
  where = "quantile_relabel"
  shares = dict(flip=flip, drop=drop, soften=soften)
  checks.same_shape(where, strength=strength, mask=mask)
  checks.probability(where, smoothing=smoothing, **shares)
  if all(isinstance(x, int | float) for x in shares.values()):
    # With room for the rounding of three shares that sum to 1.
    checks.within(where, 0.0, 1.0 + 1e-6, sum_of_shares=sum(shares.values()))
  strength = jax.lax.stop_gradient(masking.fill_masked(strength, mask))
  places = statistics.ranks(strength, mask, average=False)
  count = masking.count(strength, mask, -1, keepdims=True)
  until = lambda share: _whole(share, count)
  flipped = places < until(flip)
  dropped = ~flipped & (places < until(flip + drop))
  strong = places >= count - until(soften)
  target = jnp.where(strong, 1 - smoothing, 1.0).astype(strength.dtype)
  # Masked entries rank lowest; they are left as they are.
  flipped = flipped if mask is None else flipped & mask
  target = jnp.where(flipped, 0.0, target)
  weight = masking.fill_masked(1.0 - dropped.astype(strength.dtype), mask)
  return Relabelled(target, margin_scale * strength, weight)
