"""Losses that place embeddings: what belongs together lies together."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, links, masking
from rewardjax.types import Scalar


def unit(x: Float[Array, "*batch H"]) -> Float[Array, "*batch H"]:
  """x / |x|, and 0 for the zero vector.

  Gradient: 0 at the zero vector.
  """
  x = masking.as_accumulator(x)
  square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  empty = square == 0
  # The root's gradient at 0 is infinite: it never sees it.
  return jnp.where(empty, 0.0, x / jnp.sqrt(jnp.where(empty, 1.0, square)))


def cosine(
    a: Float[Array, "*#batch H"], b: Float[Array, "*#batch H"]
) -> Float[Array, "*batch"]:
  """Cosine of two vectors, in [-1, 1]; 0 if one is zero."""
  return jnp.sum(unit(a) * unit(b), axis=-1)


def _rows(where, mask, **arrays):
  """Rows of zeros where masked, widened; all arrays of one shape."""
  checks.same_shape(where, **arrays)
  first = next(iter(arrays.values()))
  if mask is None:
    return [masking.as_accumulator(x) for x in arrays.values()]
  checks.same_shape(where, rows=first[..., 0], mask=mask)
  wide = jnp.broadcast_to(mask[..., None], first.shape)
  return [masking.fill_masked(x, wide) for x in arrays.values()]


def triplet(
    anchor: Float[Array, "*batch H"],
    positive: Float[Array, "*batch H"],
    negative: Float[Array, "*batch H"],
    mask: Bool[Array, "*batch"] | None = None,
    *,
    margin: Scalar = 0.3,
) -> Float[Array, "*batch"]:
  """max(0, |a - p|^2 - |a - n|^2 + margin) on the unit sphere.

  There |a - p|^2 = 2 - 2 cos(a, p): the loss ends where the cosine of the
  positive leads by margin / 2. Embeddings are normalised here.

  Args:
    anchor: of the prompt.
    positive: of what was preferred under the same prompt.
    negative: of what was not.
    mask: True for real triplets.
    margin: in squared distance, 0 to 4.

  Returns:
    Loss per triplet, 0 where masked.

  Gradient: flows through all embeddings; 0 once the margin is reached.

  Raises:
    ValueError: if shapes differ or `margin` is out of range.

  References:
    Isajanyan et al., "Social Reward", 2024.
  """
  checks.within("triplet", 0.0, 4.0, margin=margin)
  anchor, positive, negative = _rows(
      "triplet", mask, anchor=anchor, positive=positive, negative=negative
  )
  lead = cosine(anchor, positive) - cosine(anchor, negative)
  losses = links.hinge(2 * lead, threshold=margin)
  return masking.fill_masked(losses, mask)


def info_nce(
    queries: Float[Array, "*batch N H"],
    keys: Float[Array, "*batch N H"],
    mask: Bool[Array, "*batch N"] | None = None,
    *,
    temperature: Scalar = 0.05,
) -> Float[Array, "*batch N"]:
  """-log softmax_j(cos(u_i, v_j) / temperature) at j = i.

  Args:
    queries: u.
    keys: v; row i is the positive of query i, the others its negatives. All
      real rows of the last axis but one are negatives, so the loss depends
      on how a batch is split.
    mask: True for real rows; a masked one is nobody's negative.
    temperature: of the softmax.

  Returns:
    Nats per row, 0 where masked.

  Gradient: flows through both.

  Raises:
    ValueError: if shapes differ or `temperature` is not positive.

  References:
    Gao et al., "SimCSE", 2021, arXiv:2104.08821.
  """
  checks.within("info_nce", 0.0, low_open=True, temperature=temperature)
  queries, keys = _rows("info_nce", mask, queries=queries, keys=keys)
  logits = jnp.matmul(
      unit(queries),
      jnp.swapaxes(unit(keys), -1, -2),
      precision=jax.lax.Precision.HIGHEST,
  ) / temperature
  if mask is not None:
    # Not -inf: a row in which nothing is real would be NaN.
    logits = jnp.where(mask[..., None, :], logits, -1e9)
  own = jnp.diagonal(logits, axis1=-2, axis2=-1)
  losses = jax.nn.logsumexp(logits, axis=-1) - own
  return masking.fill_masked(losses, mask)


class GoalPositions(NamedTuple):
  """Indices of an earlier and a later token; `valid` needs two tokens."""

  source: Int[Array, "*batch M"]
  goal: Int[Array, "*batch M"]
  valid: Bool[Array, "*batch M"]


def goal_positions(
    uniforms: Float[Array, "*batch M 2"], mask: Bool[Array, "*batch T"]
) -> GoalPositions:
  """M pairs of valid positions of each row, the source before the goal.

  Args:
    uniforms: draws in [0, 1); the smaller of two places the source.
    mask: True on tokens that may be drawn.

  Returns:
    `GoalPositions`; source < goal strictly wherever `valid`.

  Raises:
    ValueError: if the leading axes differ.
  """
  where = "goal_positions"
  checks.same_shape(where, rows=uniforms[..., 0, 0], mask=mask[..., 0])
  count = jnp.sum(mask, axis=-1, keepdims=True)
  gaps = jnp.maximum(count - 1, 1)
  # The minimum: rounding may carry a draw just below 1 one place too far.
  place = lambda u: jnp.minimum(
      (u * gaps.astype(u.dtype)).astype(count.dtype), gaps - 1
  )
  # Valid tokens first, in their order: the n-th of them is at order[n].
  order = jnp.argsort(~mask, axis=-1, stable=True)
  take = lambda n: jnp.take_along_axis(order, n, axis=-1)
  low, high = jnp.min(uniforms, -1), jnp.max(uniforms, -1)
  # One more than the place of the larger draw: never the source itself.
  later = jnp.minimum(place(high) + 1, mask.shape[-1] - 1)
  valid = jnp.broadcast_to(count >= 2, low.shape)
  return GoalPositions(take(place(low)), take(later), valid)


def goal_contrastive(
    sources: Float[Array, "B M H"],
    goals: Float[Array, "B M H"],
    other_sources: Float[Array, "B M H"],
    other_goals: Float[Array, "B M H"],
    mask: Bool[Array, "B M"] | None = None,
    other_mask: Bool[Array, "B M"] | None = None,
) -> Float[Array, ""]:
  """-log A - log(1 - N): states point at where their own sequence leads.

      A = mean over b, i, j of sigmoid(cos(source_i, goal_j)),
      N = the same of states that do not belong together

  A cosine is at most 1, so the loss lies in [.626523, 2.626523]; it is
  2 log 2 where all cosines are 0. Both means run over the whole batch before
  the logarithm: split, it gives another loss.

  Args:
    sources: states of preferred sequences, earlier than their goals.
    goals: later states of the same sequence.
    other_sources: of preferred sequences.
    other_goals: of rejected ones.
    mask: True for pairs of positions that exist, see `goal_positions`.
    other_mask: the same for the others.

  Returns:
    One number; a mean over nothing counts as sigmoid(0).

  Gradient: flows through all states.

  Raises:
    ValueError: if shapes differ.

  References:
    Nath et al., "Learning Goal-Conditioned Representations for Language
      Reward Models", 2024.
  """
  where = "goal_contrastive"
  agree = _mean_agreement(where, mask, sources=sources, goals=goals)
  differ = _mean_agreement(
      where, other_mask, other_sources=other_sources, other_goals=other_goals
  )
  return -jnp.log(agree) - jnp.log1p(-differ)


def _mean_agreement(where, mask, **states):
  sources, goals = _rows(where, mask, **states)
  cosines = cosine(sources[:, :, None, :], goals[:, None, :, :])
  pairs = None
  if mask is not None:
    pairs = mask[:, :, None] & mask[:, None, :]
  some = True if pairs is None else jnp.any(pairs)
  mean = masking.masked_mean(jax.nn.sigmoid(cosines), pairs)
  return jnp.where(some, mean, 0.5)
