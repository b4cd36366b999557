"""Mislabelled examples, found by the labels of their nearest neighbours.

Made for relation classification, where most errors are false negatives: a
positive example that the annotators labelled with the negative class.

References:
  "Noise in Relation Classification Dataset TACRED: Characterization and
    Reduction".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


class Neighbors(NamedTuple):
  """Nearest neighbours of each row, nearest first.

  indices: rows of the pool; arbitrary where `mask` is False.
  mask: False where the pool had fewer than K rows left.
  """

  indices: Int[Array, "N K"]
  mask: Bool[Array, "N K"]


def nearest(
    embeddings: Float[Array, "N D"],
    pool_mask: Bool[Array, " N"] | None = None,
    *,
    k: int,
    block: int = 1024,
) -> Neighbors:
  """The k nearest rows of the pool by Euclidean distance, never itself.

  Args:
    embeddings: one row per example.
    pool_mask: which rows may be neighbours; None means all.
    k: neighbours per row (static).
    block: rows compared at once (static): memory is block * N.

  Gradient: none; neighbours are data.

  Raises:
    ValueError: if a size is not positive or shapes differ.
  """
  checks.at_least("nearest", 1, k=k, block=block)
  checks.same_shape("nearest", rows=embeddings[:, 0], pool_mask=pool_mask)
  x = masking.as_accumulator(jax.lax.stop_gradient(embeddings))
  n = x.shape[0]
  pool = jnp.ones(n, bool) if pool_mask is None else pool_mask
  # Centred: distances are differences of squares, and large means cancel.
  safe = masking.fill_masked(x, jnp.isfinite(x))
  safe = safe - jnp.mean(safe, axis=0, keepdims=True)
  squares = jnp.sum(jnp.square(safe), axis=1)
  allowed = pool & jnp.all(jnp.isfinite(x), axis=1)

  def compare(rows):
    precise = jax.lax.Precision.HIGHEST
    product = jnp.matmul(safe[rows], safe.T, precision=precise)
    distance = squares[rows][:, None] - 2 * product + squares[None]
    other = allowed[None] & (rows[:, None] != jnp.arange(n)[None])
    distance = jnp.where(other, distance, jnp.inf)
    best, indices = jax.lax.top_k(-distance, min(k, n))
    return Neighbors(indices, jnp.isfinite(best))

  count = -(-n // block)
  rows = jnp.minimum(jnp.arange(count * block), n - 1).reshape(count, block)
  found = jax.lax.map(compare, rows)
  flat = lambda x: x.reshape(count * block, -1)[:n]
  short = [(0, 0), (0, k - min(k, n))]
  return Neighbors(*(jnp.pad(flat(part), short) for part in found))


def neighbor_share(
    neighbors: Neighbors, marked: Bool[Array, " N"]
) -> Float[Array, " N"]:
  """Share of each row's neighbours that are marked; 0 without neighbours."""
  hits = marked[neighbors.indices].astype(jnp.float32)
  return masking.masked_mean(hits, neighbors.mask, -1)


def neighbor_label(
    neighbors: Neighbors,
    labels: Int[Array, " N"],
    eligible: Bool[Array, " N"] | None = None,
    *,
    num_classes: int,
) -> Int[Array, " N"]:
  """Most frequent label among each row's neighbours; -1 without any.

  Args:
    neighbors: of `nearest`.
    labels: 0 .. num_classes-1; others have no vote.
    eligible: neighbours that vote; None means all.
    num_classes: static. Of equally frequent labels the lowest wins.
  """
  votes = jax.nn.one_hot(labels[neighbors.indices], num_classes)
  voting = neighbors.mask
  if eligible is not None:
    voting &= eligible[neighbors.indices]
  total = masking.masked_sum(
      votes, jnp.broadcast_to(voting[..., None], votes.shape), axis=1
  )
  return jnp.where(jnp.sum(total, -1) > 0, jnp.argmax(total, axis=-1), -1)


def knn_label_noise(
    embeddings: Float[Array, "N D"],
    labels: Int[Array, " N"],
    pool_mask: Bool[Array, " N"] | None = None,
    *,
    k: int,
    num_classes: int,
) -> tuple[Float[Array, " N"], Int[Array, " N"]]:
  """How far the neighbours disagree with a label, and what they would say.

  Returns:
    The share of neighbours with another label, and their most frequent label
    (-1 without neighbours).
  """
  checks.same_shape("knn_label_noise", labels=labels, rows=embeddings[:, 0])
  found = nearest(embeddings, pool_mask, k=k)
  other = labels[found.indices] != labels[:, None]
  disagree = masking.masked_mean(other.astype(jnp.float32), found.mask, -1)
  return disagree, neighbor_label(found, labels, num_classes=num_classes)


class Suspicion(NamedTuple):
  """Which labels look wrong, and what they would be; -1 where unknown."""

  suspicious: Bool[Array, " N"]
  label: Int[Array, " N"]


def intrinsic(
    embeddings: Float[Array, "N D"],
    labels: Int[Array, " N"],
    predicted: Int[Array, " N"],
    *,
    k: int,
    num_classes: int,
    negative_class: int = 0,
    least: Scalar = 0.5,
) -> Suspicion:
  """Negatives that a model calls positive, in a positive neighbourhood.

  Positives are taken to be clean. Candidates are the negatives that the model
  predicts positive; one is suspicious if at least `least` of its neighbours
  are positives or candidates themselves. Its label would be the most frequent
  one of its positive neighbours, else what the model predicts.

  Args:
    embeddings: of a model that did not memorise the labels.
    labels: as annotated.
    predicted: classes by that model.
    k: neighbours (static).
    num_classes: static.
    negative_class: "no relation".
    least: share of the neighbours.

  Raises:
    ValueError: if shapes differ or `least` is no probability.
  """
  checks.same_shape(
      "intrinsic", labels=labels, predicted=predicted, rows=embeddings[:, 0]
  )
  checks.probability("intrinsic", least=least)
  positive = labels != negative_class
  candidate = ~positive & (predicted != negative_class)
  found = nearest(embeddings, k=k)
  share = neighbor_share(found, positive | candidate)
  suspicious = candidate & (share >= least)
  voted = neighbor_label(found, labels, positive, num_classes=num_classes)
  label = jnp.where(voted >= 0, voted, predicted)
  return Suspicion(suspicious, jnp.where(suspicious, label, -1))


def extrinsic(
    embeddings: Float[Array, "N D"],
    labels: Int[Array, " N"],
    trusted: Bool[Array, " N"],
    *,
    k: int,
    num_classes: int,
    negative_class: int = 0,
    least: Scalar = 0.5,
    positives: bool = False,
) -> Suspicion:
  """Labels that a trusted subset contradicts.

  A negative is suspicious if at least `least` of its neighbours in the
  trusted subset are positive; with `positives` a positive is too, if at least
  `least` of them bear another label. Trusted rows never are.

  Args:
    embeddings: of any model.
    labels: as annotated.
    trusted: rows whose labels were checked; only they are neighbours.
    k: neighbours (static).
    num_classes: static.
    negative_class: "no relation".
    least: share of the neighbours.
    positives: whether positives are judged as well (static).

  Raises:
    ValueError: if shapes differ or `least` is no probability.
  """
  checks.same_shape(
      "extrinsic", labels=labels, trusted=trusted, rows=embeddings[:, 0]
  )
  checks.probability("extrinsic", least=least)
  positive = labels != negative_class
  found = nearest(embeddings, trusted, k=k)
  known = jnp.any(found.mask, axis=-1) & ~trusted
  share = neighbor_share(found, positive)
  suspicious = known & ~positive & (share >= least)
  eligible = positive
  if positives:
    other = labels[found.indices] != labels[:, None]
    differ = masking.masked_mean(other.astype(jnp.float32), found.mask, -1)
    suspicious |= known & positive & (differ >= least)
    eligible = None
  voted = neighbor_label(found, labels, eligible, num_classes=num_classes)
  return Suspicion(suspicious, jnp.where(suspicious, voted, -1))


def eliminate(suspicion: Suspicion) -> Bool[Array, " N"]:
  """Which rows are kept for training."""
  return ~suspicion.suspicious


def reannotate(
    labels: Int[Array, " N"], suspicion: Suspicion
) -> Int[Array, " N"]:
  """Labels, suspicious ones replaced where a better one is known."""
  better = suspicion.suspicious & (suspicion.label >= 0)
  return jnp.where(better, suspicion.label.astype(labels.dtype), labels)
