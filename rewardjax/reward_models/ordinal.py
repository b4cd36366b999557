"""Rewards as distributions over K ordered grades, learned from comparisons.

A grade i = 0 .. K-1 of each item is independent given the items; the chosen
one should have the higher grade. Distributions are logits of the last axis.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking

Mode = Literal["block", "flood"]


def preference_log_prob(
    chosen: Float[Array, "*batch K"],
    rejected: Float[Array, "*batch K"],
    region: Bool[Array, "*#batch K K"] | None = None,
    mask: Bool[Array, "*batch"] | None = None,
) -> Float[Array, "*batch"]:
  """log of sum over (i, j) in the region of p_chosen(i) p_rejected(j).

  Args:
    chosen: logits of the grades of the chosen item.
    rejected: of the rejected one.
    region: pairs of grades (chosen, rejected) that agree with what is known,
      see `region_mask`; None: all with i > j. Equal distributions then have
      less than 1/2, since ties agree with nobody.
    mask: True for real pairs.

  Returns:
    Nats, its negative is the loss; 0 where masked, -inf with gradient 0 for
      an empty region.

  Gradient: flows through both; dP / dp_chosen(k) = P(rejected < k).

  Raises:
    ValueError: if shapes do not fit.
  """
  where = "preference_log_prob"
  checks.same_shape(where, chosen=chosen, rejected=rejected)
  checks.same_shape(where, pairs=chosen[..., 0], mask=mask)
  grades = chosen.shape[-1]
  shape = (*chosen.shape, grades)
  if region is None:
    region = jnp.tri(grades, k=-1, dtype=bool)
    region = region.reshape((1,) * (chosen.ndim - 1) + region.shape)
  checks.broadcasts_to(where, shape, region=region)
  joint = (
      _log_probs(chosen, mask)[..., :, None]
      + _log_probs(rejected, mask)[..., None, :]
  )
  total = jax.nn.logsumexp(
      joint, axis=(-2, -1), where=jnp.broadcast_to(region, shape)
  )
  return masking.fill_masked(total, mask)


def _log_probs(logits, mask):
  if mask is not None:
    mask = jnp.broadcast_to(mask[..., None], logits.shape)
  return jax.nn.log_softmax(masking.fill_masked(logits, mask), axis=-1)


def region_mask(
    chosen_level: Int[Array, "*batch"],
    rejected_level: Int[Array, "*batch"],
    *,
    num_grades: int,
    num_levels: int,
    mode: Mode,
) -> Bool[Array, "*batch K K"]:
  """Grades that agree with the preference and with the levels of both items.

  Level l of R holds the grades from l K / R up to the next level.

      block: i in the chosen level, j in the rejected one, i > j
      flood: i > j, both from the first grade of the rejected level to the
        last of the chosen one: the triangle that the block spans, so that
        wider gaps keep a gradient

  Args:
    chosen_level: 0 .. R-1; -1 where no level is known.
    rejected_level: the same; if either is unknown all i > j agree.
    num_grades: K, a multiple of R (static).
    num_levels: R (static).
    mode: (static).

  Returns:
    Empty where the chosen level is below the rejected one: mask such pairs.

  Raises:
    ValueError: if shapes differ, R does not divide K or `mode` is unknown.
  """
  where = "region_mask"
  checks.one_of(where, get_args(Mode), mode=mode)
  checks.same_shape(
      where, chosen_level=chosen_level, rejected_level=rejected_level
  )
  checks.at_least(where, 1, num_levels=num_levels)
  if num_grades % num_levels:
    raise ValueError(
        f"{where}: num_grades must be a multiple of num_levels, got "
        f"{num_grades} and {num_levels}."
    )
  width = num_grades // num_levels
  high, low = (x[..., None, None] for x in (chosen_level, rejected_level))
  free = (1,) * chosen_level.ndim
  i = jnp.arange(num_grades).reshape(*free, -1, 1)
  j = jnp.arange(num_grades).reshape(*free, 1, -1)
  if mode == "block":
    inside = (i // width == high) & (j // width == low)
  else:
    inside = (j >= low * width) & (i < (high + 1) * width)
  unknown = (high < 0) | (low < 0)
  return (i > j) & (inside | unknown)


class Moments(NamedTuple):
  """Of the grade: the reward, and how sure it is."""

  mean: Float[Array, "*batch"]
  variance: Float[Array, "*batch"]


def moments(
    logits: Float[Array, "*batch K"], grades: Float[Array, " K"] | None = None
) -> Moments:
  """Mean and variance of the grade.

  Args:
    logits: of the grades; -inf for a grade that cannot be.
    grades: their values; None means 1 .. K.

  Gradient: flows through `logits` and `grades`.

  Raises:
    ValueError: if there is not one value per grade.
  """
  logits = masking.as_accumulator(logits)
  size = logits.shape[-1]
  if grades is None:
    grades = jnp.arange(1, size + 1, dtype=logits.dtype)
  if grades.shape != (size,):
    raise ValueError(
        f"moments: grades must be ({size},), got {grades.shape}."
    )
  grades = grades.reshape((1,) * (logits.ndim - 1) + (size,))
  p = jax.nn.softmax(logits, axis=-1)
  mean = jnp.sum(p * grades, axis=-1, keepdims=True)
  variance = jnp.sum(p * jnp.square(grades - mean), axis=-1)
  return Moments(mean[..., 0], variance)
