"""Right samples and wrong samples, each by its own measure."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def one_of_each(
    uniforms: Float[Array, "*batch G"],
    correct: Bool[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
) -> Bool[Array, "*batch G"]:
  """Marks one right and one wrong sample of each group that has both.

  Args:
    uniforms: random numbers; the largest of each kind is chosen.
    correct: one verdict per sample.
    mask: True for valid samples; None means all are valid.

  Returns:
    True for two samples of a mixed group, for none of any other.
  """
  where = "one_of_each"
  checks.same_shape(where, uniforms=uniforms, correct=correct, mask=mask)
  mask = jnp.ones(correct.shape, bool) if mask is None else mask
  right, wrong = correct & mask, ~correct & mask
  mixed = jnp.any(right, -1, keepdims=True) & jnp.any(wrong, -1, keepdims=True)
  places = jnp.arange(correct.shape[-1])
  places = places.reshape((1,) * (correct.ndim - 1) + places.shape)

  def chosen(kind):
    best = jnp.argmax(masking.fill_masked(uniforms, kind, -jnp.inf), axis=-1)
    return kind & (places == best[..., None])

  return mixed & (chosen(right) | chosen(wrong))


def balanced(
    advantages: Float[Array, "*shape"],
    positive: Bool[Array, "*shape"],
    mask: Bool[Array, "*shape"],
    *,
    negative_coefficient: Scalar = 1.0,
) -> Float[Array, "*shape"]:
  """Scales the two kinds so that one mean over all is the sum of two means.

  With n valid entries, n+ of them positive, those are multiplied by n / n+
  and the others by negative_coefficient n / n-. A loss that is linear in the
  advantages and reduced by `core.reduction.token_mean` is then

      mean over positive entries + coefficient * mean over the others

  It couples the samples: call it on the whole batch, never on microbatches.

  Args:
    advantages: per token.
    positive: which kind each entry is.
    mask: True on entries that the reducer counts.
    negative_coefficient: of the second mean.

  Returns:
    Advantages in the same unit, float32 or wider; 0 where masked.

  Gradient: flows through `advantages`.

  Raises:
    ValueError: if shapes differ, or the coefficient is negative.
  """
  where = "balanced"
  checks.same_shape(where, advantages=advantages, positive=positive, mask=mask)
  checks.at_least(where, 0, negative_coefficient=negative_coefficient)
  total = masking.count(advantages, mask)
  share = lambda kind: masking.safe_divide(
      total, masking.count(advantages, mask & kind)
  )
  scales = share(positive), negative_coefficient * share(~positive)
  scale = jnp.where(positive, *scales)
  return masking.fill_masked(advantages, mask) * scale
