"""Verifiers that err: what is observed, given what is true.

A channel acts once, on the truth of a sample, before anything else is added
to its reward. Evaluation reads the truth. Draw once per rollout: a second
draw for the same sample (per microbatch, per epoch) is another channel.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rewardjax.core import checks, masking
from rewardjax.types import NoiseRates

Labels = Bool[Array, "*batch G"] | Float[Array, "*batch G"]


def as_numbers(labels: Labels) -> Float[Array, "*batch G"]:
  """Labels as 0.0 and 1.0, float32 or wider; NaN stays NaN."""
  if labels.dtype == jnp.bool_:
    return labels.astype(jnp.float32)
  return masking.as_accumulator(labels)


def check_probabilities(where: str, rates: NoiseRates) -> None:
  """Raises ValueError unless rates given as Python numbers are in [0, 1]."""
  checks.probability(where, **rates._asdict())


def spread_rates(where: str, rates: NoiseRates, labels: Array) -> NoiseRates:
  """The rates as arrays of the shape and the (widened) dtype of `labels`.

  Raises:
    ValueError: if a number is no probability, or an array is neither a scalar
      nor of the rank of `labels`: rates `[B]` for labels `[B, G]` would be
      read per sample whenever B = G.
  """
  check_probabilities(where, rates)
  checks.broadcasts_to(where, labels.shape, **rates._asdict())
  for name, rate in rates._asdict().items():
    if jnp.ndim(rate) not in (0, labels.ndim):
      raise ValueError(
          f"{where}: {name} must be a number or have the rank of "
          f"{labels.shape}, got shape {jnp.shape(rate)}; write rates per "
          f"prompt as [..., None]."
      )
  dtype = as_numbers(labels).dtype
  spread = lambda r: jnp.broadcast_to(jnp.asarray(r, dtype), labels.shape)
  return NoiseRates(*map(spread, rates))


def apply_flips(
    uniforms: Float[Array, "*batch #G"], labels: Labels, rates: NoiseRates
) -> Float[Array, "*batch G"]:
  """Flips each label whose uniform is below the error rate of its class.

      P(1 | truth 0) = false_positive,  P(0 | truth 1) = false_negative

  Args:
    uniforms: in [0, 1), one per sample, or `[*batch, 1]`: one per group.
    labels: the truth, Bool or 0 and 1; an unknown label (NaN) stays NaN.
    rates: numbers, per prompt `[*batch, 1]` or per sample `[*batch, G]`.

  Returns:
    Observed labels 0 and 1, float32 or wider.

  Gradient: none; what is observed is data.

  Raises:
    ValueError: if a rate does not fit the labels or is no probability.
  """
  checks.broadcasts_to("apply_flips", labels.shape, uniforms=uniforms)
  rates = spread_rates("apply_flips", rates, labels)
  labels = jax.lax.stop_gradient(as_numbers(labels))
  rate = jnp.where(labels > 0.5, rates.false_negative, rates.false_positive)
  flipped = uniforms.astype(rate.dtype) < jax.lax.stop_gradient(rate)
  return jnp.where(flipped, 1 - labels, labels)


def flip_binary(
    key: Key[Array, ""],
    labels: Labels,
    rates: NoiseRates,
    *,
    per_group: bool = False,
) -> Float[Array, "*batch G"]:
  """Observes binary labels through a verifier that errs at `rates`.

  Args:
    key: consumed.
    labels: the truth, Bool or 0 and 1; the last axis is the group.
    rates: numbers, per prompt `[*batch, 1]` or per sample `[*batch, G]`.
    per_group: one uniform per group instead of one per sample (static). The
      rates of each sample stay the same, but errors no longer average out
      inside a group: with equal rates a whole group is flipped or none of it.

  Returns:
    Observed labels 0 and 1, float32 or wider.

  References:
    Lv et al., "The Climb Carves Wisdom Deeper Than the Summit", 2025,
      arXiv:2505.22653 (per_group).
  """
  shape = (*labels.shape[:-1], 1) if per_group else labels.shape
  dtype = as_numbers(labels).dtype
  return apply_flips(jax.random.uniform(key, shape, dtype), labels, rates)


def apply_transition(
    uniforms: Float[Array, "*batch"],
    classes: Int[Array, "*batch"],
    transition: Float[Array, "K K"],
) -> Int[Array, "*batch"]:
  """The class at quantile `uniforms` of the row of each true class.

  Args:
    uniforms: in [0, 1).
    classes: true classes; one outside 0 .. K-1 is unknown and stays as it is.
    transition: P(observed column | true row); rows sum to 1.

  Raises:
    ValueError: if `transition` is not square.
  """
  num_classes = _num_classes("apply_transition", transition)
  known = (classes >= 0) & (classes < num_classes)
  edges = jnp.cumsum(transition, axis=-1)
  # Divided by its own end: rounding must not open a class of probability 0.
  edges = (edges / edges[:, -1:])[jnp.where(known, classes, 0), :-1]
  observed = jnp.sum(uniforms[..., None] >= edges, -1, dtype=classes.dtype)
  return jnp.where(known, observed, classes)


def draw_class(
    key: Key[Array, ""],
    classes: Int[Array, "*batch"],
    transition: Float[Array, "K K"],
) -> Int[Array, "*batch"]:
  """Draws the observed class of each true class; `key` is consumed.

  See `apply_transition`.
  """
  uniforms = jax.random.uniform(key, classes.shape)
  return apply_transition(uniforms, classes, transition)


def compose(
    first: Float[Array, "*batch K K"], second: Float[Array, "*batch K K"]
) -> Float[Array, "*batch K K"]:
  """The channel that sends what `first` observed through `second`.

  Raises:
    ValueError: if the shapes differ or are not square.
  """
  checks.same_shape("compose", first=first, second=second)
  _num_classes("compose", first)
  # Accelerators multiply float32 in fewer bits unless told otherwise.
  return jnp.matmul(first, second, precision=jax.lax.Precision.HIGHEST)


def binary_transition(rates: NoiseRates) -> Float[Array, "*shape 2 2"]:
  """[[1 - rho0, rho0], [rho1, 1 - rho1]]: true class by row.

  Raises:
    ValueError: if a rate given as a Python number is no probability.
  """
  check_probabilities("binary_transition", rates)
  rho0, rho1 = jnp.broadcast_arrays(*map(jnp.asarray, rates))
  rows = [jnp.stack([1 - rho0, rho0], -1), jnp.stack([rho1, 1 - rho1], -1)]
  return jnp.stack(rows, -2)


def _num_classes(where: str, transition: Array) -> int:
  rows, columns = transition.shape[-2:]
  if rows != columns:
    raise ValueError(
        f"{where}: transition must be square, got {transition.shape}."
    )
  return rows
