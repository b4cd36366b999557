"""How far features lie from those a reward model was trained on.

A score there is an extrapolation, however sure the model is: keep it apart,
or trust it less.
"""

from typing import NamedTuple

import jax.numpy as jnp
import jax.scipy.linalg
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


class Reference(NamedTuple):
  """Mean and Cholesky factor of the covariance of the training features."""

  mean: Float[Array, " D"]
  factor: Float[Array, "D D"]  # lower triangular


def fit_reference(
    features: Float[Array, "N D"],
    mask: Bool[Array, " N"] | None = None,
    *,
    ridge: Scalar = 1e-3,
) -> Reference:
  """Mean and covariance of the training features.

  Args:
    features: one row per sample.
    mask: True for real rows.
    ridge: added to the covariance, as a share of the mean variance: it makes
      fewer rows than features possible.

  Raises:
    ValueError: if shapes differ or `ridge` is not positive.
  """
  where = "fit_reference"
  checks.same_shape(where, rows=features[..., 0], mask=mask)
  checks.within(where, 0.0, low_open=True, ridge=ridge)
  wide = None
  if mask is not None:
    wide = jnp.broadcast_to(mask[:, None], features.shape)
  mean = masking.masked_mean(features, wide, axis=0)
  centred = masking.fill_masked(features, wide) - mean[None]
  centred = masking.fill_masked(centred, wide)
  count = jnp.maximum(masking.count(features, wide, axis=0)[0], 1)
  covariance = centred.T @ centred / count
  size = features.shape[1]
  scale = jnp.trace(covariance) / size
  scale = jnp.where(scale > 0, scale, 1.0)  # all rows equal
  covariance = covariance + ridge * scale * jnp.eye(size, dtype=mean.dtype)
  return Reference(mean, jnp.linalg.cholesky(covariance))


def mahalanobis(
    features: Float[Array, "*batch D"], reference: Reference
) -> Float[Array, "*batch"]:
  """Squared distance to the training features, in their own spread.

  Near D on average for rows like those of the reference; invariant to linear
  maps of the features, up to the ridge.

  Gradient: flows through `features`.

  References:
    Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution
      Samples and Adversarial Attacks", 2018, arXiv:1807.03888.
  """
  features = masking.as_accumulator(features)
  flat = features.reshape(-1, features.shape[-1]) - reference.mean[None]
  solved = jax.scipy.linalg.solve_triangular(
      reference.factor, flat.T, lower=True
  )
  squares = jnp.sum(jnp.square(solved), axis=0)
  return squares.reshape(features.shape[:-1])


def centroid_distance(
    features: Float[Array, "*batch D"], centroids: Float[Array, "K D"]
) -> Float[Array, "*batch K"]:
  """Distance to each centroid, such as the mean features of K dimensions.

  The nearest is the dimension that is relied on; far from all of them a
  reward should not be trusted.

  Gradient: flows through both; 0 at a centroid.

  Raises:
    ValueError: if the number of features differs.
  """
  if features.shape[-1] != centroids.shape[-1]:
    raise ValueError(
        f"centroid_distance: centroids must be [K, {features.shape[-1]}], "
        f"got {centroids.shape}."
    )
  row = (1,) * (features.ndim - 1)
  centroids = masking.as_accumulator(centroids)
  gap = masking.as_accumulator(features)[..., None, :] - centroids.reshape(
      row + centroids.shape
  )
  square = jnp.sum(jnp.square(gap), axis=-1)
  at = square == 0
  # The root's gradient at 0 is infinite: it never sees it.
  return jnp.where(at, 0.0, jnp.sqrt(jnp.where(at, 1.0, square)))
