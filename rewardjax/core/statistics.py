"""Ranks and counts over groups of samples."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking


def tie_bounds(
    values: Float[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
) -> tuple[Int[Array, "*batch N"], Int[Array, "*batch N"]]:
  """How many valid values of the last axis lie below each, and not above it.

  Among the sorted valid values an entry and its ties take the places
  `below .. not_above - 1`, counted from 0.

  Args:
    values: any unit; -inf and inf are values like others.
    mask: True for valid entries; None means all are valid.

  Returns:
    `(below, not_above)`; masked entries have 0 and 0.

  Raises:
    ValueError: if `mask` does not have the shape of `values`.
  """
  checks.same_shape("tie_bounds", values=values, mask=mask)
  mask = jnp.ones(values.shape, bool) if mask is None else mask
  # Masked entries stand last; a valid inf ties with them, hence the minimum.
  filled = masking.fill_masked(values, mask, jnp.inf)
  rows = filled.reshape(-1, values.shape[-1])

  def one(row):
    ordered = jnp.sort(row)
    find = lambda side: jnp.searchsorted(ordered, row, side=side)
    return find("left"), find("right")

  below, not_above = (x.reshape(values.shape) for x in jax.vmap(one)(rows))
  count = jnp.sum(mask, axis=-1, keepdims=True, dtype=below.dtype)
  not_above = jnp.minimum(not_above, count)
  return jnp.where(mask, below, 0), jnp.where(mask, not_above, 0)


def ranks(
    values: Float[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
    *,
    average: bool,
) -> Float[Array, "*batch N"]:
  """Ascending rank 0 .. n - 1 of each valid value in the last axis.

  Args:
    values: any unit.
    mask: True for valid entries, n of them; None means all are valid.
    average: equal values share the mean of their ranks, so that their order
      in the array does not matter; if False they rank in that order (static).

  Returns:
    Float32 or wider, 0 where masked.

  Gradient: none.

  Raises:
    ValueError: if `mask` does not have the shape of `values`.
  """
  checks.same_shape("ranks", values=values, mask=mask)
  values = jax.lax.stop_gradient(masking.as_accumulator(values))
  if average:
    below, not_above = tie_bounds(values, mask)
    places = (below + not_above - 1).astype(values.dtype) / 2
    return masking.fill_masked(places, mask)
  invalid = jnp.zeros(values.shape, bool) if mask is None else ~mask
  # By validity first: a valid inf must not rank behind a masked entry.
  order = jnp.lexsort((masking.fill_masked(values, mask), invalid), axis=-1)
  places = jnp.argsort(order, axis=-1).astype(values.dtype)
  return masking.fill_masked(places, mask)


def spearman(
    x: Float[Array, "*batch N"],
    y: Float[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
) -> Float[Array, "*batch"]:
  """The correlation of ranks, equal values at their mean rank.

  Args:
    x: any unit.
    y: any unit.
    mask: True for real pairs; None means all.

  Returns:
    In [-1, 1], float32 or wider; NaN where either is constant.

  Gradient: none.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("spearman", x=x, y=y, mask=mask)

  def centred(places):
    mean = masking.masked_mean(places, mask, -1, keepdims=True)
    return masking.fill_masked(places - mean, mask)

  def constant(places):
    real = jnp.ones(places.shape, bool) if mask is None else mask
    most = jnp.max(places, axis=-1, where=real, initial=-jnp.inf)
    return most <= jnp.min(places, axis=-1, where=real, initial=jnp.inf)

  places = [ranks(values, mask, average=True) for values in (x, y)]
  x, y = map(centred, places)
  total = lambda z: jnp.sum(z, axis=-1)
  scale = jnp.sqrt(total(x * x) * total(y * y))
  # Not scale == 0: compiled, a mean of equal ranks may be off by rounding.
  empty = constant(places[0]) | constant(places[1])
  return jnp.where(empty, jnp.nan, total(x * y) / jnp.where(empty, 1.0, scale))


def segment_counts(
    values: Float[Array, "*shape"],
    segments: Int[Array, "*shape"],
    mask: Bool[Array, "*shape"] | None = None,
    *,
    num_segments: int,
) -> Float[Array, " K"]:
  """Sums the valid `values` of each segment id 0 .. K-1 (static K)."""
  checks.same_shape(
      "segment_counts", values=values, segments=segments, mask=mask
  )
  values = masking.fill_masked(values, mask)
  return jax.ops.segment_sum(values.ravel(), segments.ravel(), num_segments)


def step_sums(
    values: Float[Array, "*batch T"],
    step_ids: Int[Array, "*batch T"],
    mask: Bool[Array, "*batch T"] | None = None,
    *,
    num_steps: int,
) -> Float[Array, "*batch K"]:
  """Sums the valid `values` of each step 0 .. K-1 of each row (static K).

  Any other id belongs to no step; a step without a token has 0.

  Gradient: 1 on the tokens that count, exactly 0 elsewhere.
  """
  checks.same_shape("step_sums", values=values, step_ids=step_ids, mask=mask)
  checks.at_least("step_sums", 1, num_steps=num_steps)
  values = masking.fill_masked(values, mask)
  inside = (step_ids >= 0) & (step_ids < num_steps)
  rows = jnp.arange(values.size // values.shape[-1])
  rows = rows.reshape(*values.shape[:-1], 1).astype(step_ids.dtype)
  size = rows.size * num_steps
  segments = jnp.where(inside, rows * num_steps + step_ids, size)
  sums = jax.ops.segment_sum(values.ravel(), segments.ravel(), size)
  return sums.reshape(*values.shape[:-1], num_steps)


def micro_f1(
    predicted: Int[Array, "*batch N"],
    labels: Int[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
    *,
    negative_class: int | None = None,
) -> Float[Array, "*batch"]:
  """F1 over all examples, a class that means "nothing" left out.

      2 TP / (predicted positives + labelled positives)

  Args:
    predicted: class ids.
    labels: class ids.
    mask: True for real examples.
    negative_class: is neither found nor missed; None counts every class,
      which makes this the accuracy (static).

  Returns:
    Float32 in [0, 1]; 0 where nothing is positive.
  """
  checks.same_shape("micro_f1", predicted=predicted, labels=labels, mask=mask)
  mask = jnp.ones(labels.shape, bool) if mask is None else mask
  found, true = mask, mask
  if negative_class is not None:
    found = mask & (predicted != negative_class)
    true = mask & (labels != negative_class)
  total = lambda x: jnp.sum(x, axis=-1, dtype=jnp.float32)
  hits = total(found & true & (predicted == labels))
  return masking.safe_divide(2 * hits, total(found) + total(true))
