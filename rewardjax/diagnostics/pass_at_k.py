"""How much is found by k draws: from samples, and exactly from a policy."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

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


def coverage(
    probabilities: Float[Array, "*batch K"],
    correct: Bool[Array, "*batch K"],
    *,
    k: int,
) -> Float[Array, "*batch"]:
  """Expected share of the correct items that k independent draws find.

      mean over correct items of 1 - (1 - p)^k

  Args:
    probabilities: of each item under the policy, in [0, 1].
    correct: which items are worth finding; the others count nowhere.
    k: number of draws (static).

  Returns:
    A share in [0, 1], float32 or wider; 0 where no item is correct.

  Gradient: flows through `probabilities` of correct items.

  Raises:
    ValueError: if shapes differ, or k < 1.
  """
  checks.same_shape("coverage", probabilities=probabilities, correct=correct)
  checks.at_least("coverage", 1, k=k)
  p = jnp.clip(masking.fill_masked(probabilities, correct), 0.0, 1.0)
  # log1p: 1 - p loses the digits of a rare item. p = 1 is found for certain,
  # by the other branch: its logarithm is -inf.
  certain = p >= 1
  missed = k * jnp.log1p(-jnp.where(certain, 0.0, p))
  found = jnp.where(certain, 1.0, -jnp.expm1(missed))
  return masking.masked_mean(found, correct, -1)
