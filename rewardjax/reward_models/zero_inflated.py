"""Targets that are often 0 and otherwise heavy-tailed, and mixtures of such.

A zero-inflated log-normal has three numbers: the logit of being positive,
and the mean and the raw width of log y where it is.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from rewardjax.core import checks, masking, numerics
from rewardjax.types import Scalar

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class ZeroInflated(NamedTuple):
  """A zero-inflated log-normal.

  logit: log-odds of y > 0.
  location: mean of log y.
  width: standard deviation of log y, positive.
  """

  logit: Float[Array, "*batch"]
  location: Float[Array, "*batch"]
  width: Float[Array, "*batch"]


def read(
    outputs: Float[Array, "*batch 3"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    min_width: Scalar = 1e-3,
) -> ZeroInflated:
  """The distribution from three numbers of a model; width by softplus.

  Args:
    outputs: logit, location, raw width.
    mask: True for real rows; the others are read as zeros.
    min_width: added to the width.

  Gradient: flows through `outputs`, not where masked.

  Raises:
    ValueError: if there are not three, or `min_width` is not positive.
  """
  checks.within("read", 0.0, low_open=True, min_width=min_width)
  if outputs.shape[-1] != 3:
    raise ValueError(f"read: outputs must be [..., 3], got {outputs.shape}.")
  checks.same_shape("read", rows=outputs[..., 0], mask=mask)
  if mask is not None:
    mask = jnp.broadcast_to(mask[..., None], outputs.shape)
  outputs = masking.fill_masked(outputs, mask)
  width = jax.nn.softplus(outputs[..., 2]) + min_width
  return ZeroInflated(outputs[..., 0], outputs[..., 1], width)


def negative_log_likelihood(
    distribution: ZeroInflated,
    targets: Float[Array, "*batch"],
    mask: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
  """-log density of y; a density for y > 0, a probability for y = 0.

  Args:
    distribution: see `read`.
    targets: y >= 0; anything not above 0 counts as 0.
    mask: True for real rows.

  Returns:
    Nats per row, 0 where masked; may be negative.

  Gradient: flows through `distribution`; targets are held.

  Raises:
    ValueError: if shapes differ.

  References:
    Wang et al., "A Deep Probabilistic Model for Customer Lifetime Value
      Prediction", 2019, arXiv:1912.07753.
  """
  checks.same_shape(
      "negative_log_likelihood",
      **distribution._asdict(),
      targets=targets,
      mask=mask,
  )
  logit, location = (masking.fill_masked(x, mask) for x in distribution[:2])
  width = masking.fill_masked(distribution.width, mask, 1.0)
  targets = jax.lax.stop_gradient(masking.fill_masked(targets, mask))
  positive = targets > 0
  # The logarithm, and what is divided, never see the branch not taken.
  log_y = jnp.log(jnp.where(positive, targets, 1.0))
  z = jnp.where(positive, (log_y - location) / width, 0.0)
  density = log_y + jnp.log(width) + _HALF_LOG_2PI + 0.5 * jnp.square(z)
  density = jnp.where(positive, density, 0.0)
  sign = jax.nn.softplus(jnp.where(positive, -logit, logit))
  return masking.fill_masked(sign + density, mask)


def mean(
    distribution: ZeroInflated, *, bound: Scalar = 12.0
) -> Float[Array, "*batch"]:
  """P(y > 0) exp(location + width^2 / 2), the exponent clipped to +-bound.

  Gradient: flows through `distribution`; through the exponent inside the
    bound only.
  """
  exponent = distribution.location + 0.5 * jnp.square(distribution.width)
  share = jax.nn.sigmoid(distribution.logit)
  return share * numerics.bounded_exp(exponent, bound)


class GateTargets(NamedTuple):
  """Which of L experts explains a row: the best one, and in proportion."""

  best: Float[Array, "*batch L"]  # one-hot
  log_soft: Float[Array, "*batch L"]  # log softmax(-losses)


def gate_targets(losses: Float[Array, "*batch L"]) -> GateTargets:
  """What a gate should have said, given the experts' losses on the row.

  Gradient: none: experts learn from their own losses.
  """
  losses = jax.lax.stop_gradient(masking.as_accumulator(losses))
  best = jax.nn.one_hot(
      jnp.argmin(losses, axis=-1), losses.shape[-1], dtype=losses.dtype
  )
  return GateTargets(best, jax.nn.log_softmax(-losses, axis=-1))


def gate_loss(
    logits: Float[Array, "*batch L"],
    losses: Float[Array, "*batch L"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    focus: Scalar = 2.0,
    soft_weight: Scalar = 0.5,
) -> Float[Array, "*batch"]:
  """Teaches a gate to pick the expert that explains a row.

      -(1 - g_best)^focus log g_best + soft_weight KL(g || softmax(-losses))

  Args:
    logits: of the gate; g is their softmax.
    losses: of the experts on the same row; they make the targets.
    mask: True for real rows.
    focus: at least 0; 0 is plain cross-entropy, more leaves rows alone that
      the gate has right.
    soft_weight: at least 0.

  Returns:
    Nats per row, 0 where masked; 0 with a single expert.

  Gradient: flows through `logits`; `losses` are held.

  Raises:
    ValueError: if shapes differ or a weight is negative.

  References:
    Weng et al., "OptDist: Learning Optimal Distribution for Customer Lifetime
      Value Prediction", 2024.
    Lin et al., "Focal Loss for Dense Object Detection", 2017.
  """
  where = "gate_loss"
  checks.same_shape(where, logits=logits, losses=losses)
  checks.same_shape(where, rows=logits[..., 0], mask=mask)
  checks.at_least(where, 0.0, focus=focus, soft_weight=soft_weight)
  wide = mask
  if mask is not None:
    wide = jnp.broadcast_to(mask[..., None], logits.shape)
  log_gate = jax.nn.log_softmax(masking.fill_masked(logits, wide), axis=-1)
  targets = gate_targets(masking.fill_masked(losses, wide))
  chosen = jnp.sum(targets.best * log_gate, axis=-1)
  # 1 - g of the chosen one: exact where g is near 1, and never negative, so
  # that a power below 1 has a gradient.
  missing = jnp.maximum(-jnp.expm1(chosen), jnp.finfo(chosen.dtype).tiny)
  focal = -(missing**focus) * chosen
  gap = log_gate - targets.log_soft
  divergence = jnp.sum(jnp.exp(log_gate) * gap, axis=-1)
  return masking.fill_masked(focal + soft_weight * divergence, mask)


def select(
    key: Key[Array, ""],
    logits: Float[Array, "*batch L"],
    *,
    temperature: Scalar = 1.0,
) -> Float[Array, "*batch L"]:
  """A one-hot draw from softmax(logits), differentiable straight through.

  Args:
    key: consumed.
    logits: of the choice.
    temperature: of the softmax that lends its gradient.

  Returns:
    Exactly one-hot.

  Gradient: that of softmax((logits + Gumbel noise) / temperature).

  Raises:
    ValueError: if `temperature` is not positive.

  References:
    Jang et al., "Categorical Reparameterization with Gumbel-Softmax", 2017,
      arXiv:1611.01144.
  """
  logits = masking.as_accumulator(logits)
  noise = jax.random.gumbel(key, logits.shape, logits.dtype)
  return straight_through(logits + noise, temperature=temperature)


def straight_through(
    logits: Float[Array, "*batch L"], *, temperature: Scalar = 1.0
) -> Float[Array, "*batch L"]:
  """One-hot of the largest logit, with the gradient of the softmax.

  Raises:
    ValueError: if `temperature` is not positive.
  """
  checks.within(
      "straight_through", 0.0, low_open=True, temperature=temperature
  )
  logits = masking.as_accumulator(logits)
  soft = jax.nn.softmax(logits / temperature, axis=-1)
  hard = jax.nn.one_hot(
      jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=soft.dtype
  )
  # This way round: x + (hard - x) need not be exactly hard.
  return hard + (soft - jax.lax.stop_gradient(soft))
