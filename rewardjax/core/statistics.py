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
