"""Ranks and unbiased metrics over groups of samples."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking


def pass_at_k(
    correct: Bool[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
    *,
    k: int,
) -> Float[Array, "*batch"]:
  """Unbiased P(at least one of k draws is right), from n >= k valid samples.

      1 - C(n - c, k) / C(n, k),   c = number of right ones

  Args:
    correct: one verdict per sample.
    mask: True for valid samples.
    k: number of draws (static).

  Returns:
    A probability in float32; NaN where fewer than k samples are valid, since
    no unbiased estimate exists there.

  References:
    Chen et al., "Evaluating Large Language Models Trained on Code", 2021,
      arXiv:2107.03374, Eq. 1.
  """
  checks.same_shape("pass_at_k", correct=correct, mask=mask)
  checks.at_least("pass_at_k", 1, k=k)
  mask = jnp.ones(correct.shape, bool) if mask is None else mask
  n = jnp.sum(mask, -1, dtype=jnp.float32)
  wrong = n - jnp.sum(correct & mask, -1, dtype=jnp.float32)
  # C(w, k) / C(n, k) = prod_j (w - j) / (n - j), a product of k ratios.
  steps = jnp.arange(k, dtype=jnp.float32).reshape((1,) * n.ndim + (k,))
  left = jnp.maximum(wrong[..., None] - steps, 0.0)
  right = jnp.maximum(n[..., None] - steps, 1.0)
  return jnp.where(n >= k, 1.0 - jnp.prod(left / right, -1), jnp.nan)


def group_rank(x: Float[Array, "*batch G"]) -> Int[Array, "*batch G"]:
  """Ascending rank 0 .. G-1 in the last axis; ties keep their order."""
  return jnp.argsort(jnp.argsort(x, axis=-1, stable=True), axis=-1)


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
