"""How far two readings of the same examples agree."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking, statistics


def cohen_kappa(
    a: Int[Array, "*batch N"],
    b: Int[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
    *,
    num_classes: int,
) -> Float[Array, "*batch"]:
  """(p - e) / (1 - e): agreement beyond that of independent labels.

  Args:
    a: classes 0 .. num_classes - 1 by the one.
    b: by the other.
    mask: True for real examples; None means all.
    num_classes: static.

  Returns:
    Float32, 1 for equal labels, also where all are of one class; about 0 for
    independent ones; 0 without examples.

  Raises:
    ValueError: if shapes differ, or `num_classes` is less than 1.

  References:
    Cohen, "A coefficient of agreement for nominal scales", 1960.
  """
  checks.same_shape("cohen_kappa", a=a, b=b, mask=mask)
  checks.at_least("cohen_kappa", 1, num_classes=num_classes)
  mask = jnp.ones(a.shape, bool) if mask is None else mask
  shares = lambda x: masking.masked_mean(
      jax.nn.one_hot(x, num_classes),
      jnp.broadcast_to(mask[..., None], (*mask.shape, num_classes)),
      -2,
  )
  agreed = masking.masked_mean((a == b).astype(jnp.float32), mask, -1)
  expected = jnp.sum(shares(a) * shares(b), axis=-1)
  beyond = masking.safe_divide(agreed - expected, 1 - expected)
  return jnp.where(agreed == 1, 1.0, beyond)


def rank_agreement(
    members: Float[Array, "*batch N M"],
    mask: Bool[Array, "*batch N"] | None = None,
) -> Float[Array, "*batch"]:
  """Mean Spearman correlation of all pairs of M scorers.

  Members of an ensemble that agree on ordinary examples may still part on
  those that optimisation finds, where disagreement is what protects: measure
  it on both.

  Args:
    members: scores, the last axis one scorer each.
    mask: True for real examples; None means all.

  Returns:
    In [-1, 1]; NaN where a member is constant.

  Gradient: none.

  Raises:
    ValueError: if there are fewer than two members, or shapes differ.

  References:
    Eisenstein et al., "Helping or Herding? Reward Model Ensembles Mitigate
      but do not Eliminate Reward Hacking", 2023, arXiv:2312.09244.
  """
  where = "rank_agreement"
  checks.same_shape(where, examples=members[..., 0], mask=mask)
  size = members.shape[-1]
  checks.at_least(where, 2, members=size)
  columns = jnp.moveaxis(members, -1, 0)
  pairs = [(i, j) for i in range(size) for j in range(i)]
  first, second = (columns[jnp.asarray(x)] for x in zip(*pairs))
  pair = lambda a, b: statistics.spearman(a, b, mask)
  return jnp.mean(jax.vmap(pair)(first, second), axis=0)


def auroc(
    scores: Float[Array, "*batch N"],
    labels: Bool[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
) -> Float[Array, "*batch"]:
  """P(a positive scores higher than a negative), ties counted half.

  Args:
    scores: higher means more likely positive.
    labels: True for positives.
    mask: True for real examples; None means all.

  Returns:
    Float32 or wider; NaN where a class has no example.

  Gradient: none.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("auroc", scores=scores, labels=labels, mask=mask)
  mask = jnp.ones(labels.shape, bool) if mask is None else mask
  ranks = statistics.ranks(scores, mask, average=True)
  total = lambda x: jnp.sum(x, axis=-1, dtype=ranks.dtype)
  positives, negatives = total(labels & mask), total(~labels & mask)
  won = total(jnp.where(labels & mask, ranks, 0.0))
  won = won - positives * (positives - 1) / 2
  pairs = positives * negatives
  return jnp.where(pairs > 0, won / jnp.maximum(pairs, 1), jnp.nan)


def norm_gini(
    values: Float[Array, "*batch N"],
    scores: Float[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
) -> Float[Array, "*batch"]:
  """Gini index of values in the order of scores / in their own order.

      cov(values, rank(scores)) / cov(values, rank(values))

  with equal scores at their mean rank: their order in the array, on which
  other implementations hang, does not matter.

  Args:
    values: true ones, such as what a customer spends; any sign.
    scores: what ranks them.
    mask: True for real examples; None means all.

  Returns:
    1 for the right order, -1 for its reverse, about 0 for a random one;
    float32 or wider; NaN where all values are equal.

  Gradient: none.

  Raises:
    ValueError: if shapes differ.

  References:
    "OptDist: Learning Optimal Distribution for Customer Lifetime Value
      Prediction" (norm-GINI).
  """
  checks.same_shape("norm_gini", values=values, scores=scores, mask=mask)
  values = jax.lax.stop_gradient(values)
  mean = masking.masked_mean(values, mask, -1, keepdims=True)
  centred = masking.fill_masked(values, mask) - mean
  against = lambda x: masking.masked_sum(
      centred * statistics.ranks(x, mask, average=True), mask, -1
  )
  constant = masking.is_constant(values, mask, -1)[..., 0]
  own = jnp.where(constant, 1.0, against(values))
  return jnp.where(constant, jnp.nan, against(scores) / own)
