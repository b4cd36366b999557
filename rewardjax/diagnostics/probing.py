"""What the features of a frozen reward model hold: a linear reading of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def linear_probe(
    features: Float[Array, "N H"],
    labels: Int[Array, " N"],
    mask: Bool[Array, " N"] | None = None,
    *,
    num_classes: int,
    num_steps: int = 300,
    learning_rate: Scalar = 0.05,
) -> Float[Array, "H K"]:
  """Weights of a classifier without a bias, by cross-entropy on all rows.

  Args:
    features: of the frozen model, such as those of the last real token.
    labels: 0 .. K-1.
    mask: True for rows that exist; None means all.
    num_classes: K (static).
    num_steps: of Adam, from zero (static).
    learning_rate: of Adam, for features whose mean square is 1: they are
      scaled to it while they are fitted.

  Gradient: none; `features` are held, probing changes no model.

  Raises:
    ValueError: if shapes differ, or a size is too small.

  References:
    "Probing Preference Representations: A Multi-Dimensional Evaluation and
      Analysis Method for Reward Models" (MRMBench).
  """
  where = "linear_probe"
  checks.at_least(where, 2, num_classes=num_classes)
  checks.at_least(where, 1, num_steps=num_steps)
  checks.same_shape(where, labels=labels, mask=mask, rows=features[:, 0])
  mask = jnp.ones(labels.shape, bool) if mask is None else mask
  wide = jnp.broadcast_to(mask[:, None], features.shape)
  features = masking.fill_masked(jax.lax.stop_gradient(features), wide)
  square = masking.masked_mean(jnp.square(features), wide)
  scale = jax.lax.rsqrt(jnp.where(square > 0, square, 1.0))
  features, labels = features * scale, jnp.where(mask, labels, 0)
  optimizer = optax.adam(learning_rate)

  def loss(weights):
    losses = optax.softmax_cross_entropy_with_integer_labels(
        features @ weights, labels
    )
    return masking.masked_mean(losses, mask)

  def step(carry, _):
    weights, moments = carry
    updates, moments = optimizer.update(jax.grad(loss)(weights), moments)
    return (optax.apply_updates(weights, updates), moments), None

  start = jnp.zeros((features.shape[1], num_classes), features.dtype)
  carry = start, optimizer.init(start)
  (weights, _), _ = jax.lax.scan(step, carry, None, length=num_steps)
  return weights * scale


class ProbeScore(NamedTuple):
  """Accuracy over rows, and its mean over the classes that have a row.

  Where one class is nine rows in ten, always naming it scores 0.9 by the
  first and 1 / K by the second.
  """

  accuracy: Float[Array, ""]
  balanced: Float[Array, ""]


def probe_score(
    weights: Float[Array, "H K"],
    features: Float[Array, "N H"],
    labels: Int[Array, " N"],
    mask: Bool[Array, " N"] | None = None,
) -> ProbeScore:
  """How well a probe reads rows that it was not fitted on.

  Args:
    weights: of `linear_probe`.
    features: as there.
    labels: as there.
    mask: True for rows that exist; None means all.

  Raises:
    ValueError: if shapes differ.

  References:
    "Probing Preference Representations: A Multi-Dimensional Evaluation and
      Analysis Method for Reward Models" (accuracy; MRMBench's score is its
      mean over dimensions).
  """
  checks.same_shape("probe_score", labels=labels, mask=mask,
                    rows=features[:, 0])
  mask = jnp.ones(labels.shape, bool) if mask is None else mask
  wide = jnp.broadcast_to(mask[:, None], features.shape)
  said = jnp.argmax(masking.fill_masked(features, wide) @ weights, axis=-1)
  right = (said == labels).astype(jnp.float32)
  classes = jnp.arange(weights.shape[1])[:, None] == labels[None]
  classes = classes & mask[None]
  each = jnp.broadcast_to(right[None], classes.shape)
  per_class = masking.masked_mean(each, classes, -1)
  balanced = masking.masked_mean(per_class, jnp.any(classes, axis=-1))
  return ProbeScore(masking.masked_mean(right, mask), balanced)


def class_centroids(
    features: Float[Array, "N H"],
    groups: Int[Array, " N"],
    mask: Bool[Array, " N"] | None = None,
    *,
    num_groups: int,
) -> Float[Array, "G H"]:
  """Mean features of each group, such as the rows of each dimension.

  Goes into `out_of_distribution.centroid_distance`.

  Args:
    features: of the frozen model.
    groups: 0 .. G-1.
    mask: True for rows that exist; None means all.
    num_groups: G (static); a group without rows has its centroid at 0.

  Raises:
    ValueError: if shapes differ.

  References:
    "Probing Preference Representations: A Multi-Dimensional Evaluation and
      Analysis Method for Reward Models" (reconstructed).
  """
  checks.same_shape("class_centroids", groups=groups, mask=mask,
                    rows=features[:, 0])
  mask = jnp.ones(groups.shape, bool) if mask is None else mask
  member = (jnp.arange(num_groups)[:, None] == groups[None]) & mask[None]
  wide = jnp.broadcast_to(mask[:, None], features.shape)
  filled = masking.fill_masked(features, wide)
  total = member.astype(filled.dtype) @ filled
  count = jnp.sum(member, axis=-1, dtype=filled.dtype)[:, None]
  return total / jnp.maximum(count, 1)
