"""How unsure a linear reward head is, from the curvature of its likelihood.

    posterior = laplace.fit(weights, chosen_features - rejected_features)
    laplace.variance(posterior, features)            # of one reward
    laplace.win_log_odds(posterior, features_a - features_b)

The features are taken as they are; only the last layer has a posterior.
Comparisons say nothing about what all rewards share, so read the variance of
differences, or of rewards against a fixed reference answer.

References:
  Daxberger et al., "Laplace Redux", 2021, arXiv:2106.14806.
  Yang et al., "Bayesian Reward Models for LLM Alignment", 2024,
    arXiv:2402.13210.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, links, masking
from rewardjax.types import Scalar


class Posterior(NamedTuple):
  """N(mean, precision^-1) over the weights of the head."""

  mean: Float[Array, " D"]
  factor: Float[Array, "D D"]  # lower Cholesky factor of the precision
  log_evidence: Float[Array, ""]  # to choose the prior by, in nats


def fit(
    weights: Float[Array, " D"],
    differences: Float[Array, "N D"],
    mask: Bool[Array, " N"] | None = None,
    *,
    prior_precision: Scalar,
) -> Posterior:
  """Gaussian posterior around trained weights, of a Bradley-Terry likelihood.

      precision = prior I + sum sigmoid(m) sigmoid(-m) d d^T,   m = d . w

  Args:
    weights: w, at or near the minimum of the loss plus the prior's
      prior_precision |w|^2 / 2.
    differences: d, features of the chosen minus those of the rejected item.
    mask: True for real pairs.
    prior_precision: 1 / variance of a weight before the data.

  Gradient: flows through `differences` and `prior_precision`.

  Raises:
    ValueError: if shapes do not fit or the prior is not positive.
  """
  where = "fit"
  checks.within(where, 0.0, low_open=True, prior_precision=prior_precision)
  checks.same_shape(where, weights=weights, features=differences[0])
  checks.same_shape(where, pairs=differences[:, 0], mask=mask)
  wide = None
  if mask is not None:
    wide = jnp.broadcast_to(mask[:, None], differences.shape)
  d = masking.fill_masked(differences, wide)
  weights = masking.as_accumulator(weights)
  margins = d @ weights
  curvature = jax.nn.sigmoid(margins) * jax.nn.sigmoid(-margins)
  size = weights.shape[0]
  prior = prior_precision * jnp.eye(size, dtype=d.dtype)
  precision = prior + jnp.matmul(
      d.T, curvature[:, None] * d, precision=jax.lax.Precision.HIGHEST
  )
  factor = jnp.linalg.cholesky(precision)
  losses = masking.masked_sum(links.logistic(margins), mask)
  half_log_det = jnp.sum(jnp.log(jnp.diagonal(factor)))
  energy = losses + 0.5 * prior_precision * jnp.vdot(weights, weights)
  log_prior = 0.5 * size * jnp.log(jnp.asarray(prior_precision, d.dtype))
  return Posterior(weights, factor, log_prior - half_log_det - energy)


def variance(
    posterior: Posterior, features: Float[Array, "*batch D"]
) -> Float[Array, "*batch"]:
  """Variance of features . weights, squared reward units.

  Grows with the square of the features in directions no pair has tested.

  Gradient: flows through `features`.
  """
  features = masking.as_accumulator(features)
  flat = features.reshape(-1, features.shape[-1])
  solved = jax.scipy.linalg.solve_triangular(
      posterior.factor, flat.T, lower=True
  )
  return jnp.sum(jnp.square(solved), axis=0).reshape(features.shape[:-1])


def reward(
    posterior: Posterior,
    features: Float[Array, "*batch D"],
    *,
    coefficient: Scalar,
) -> Float[Array, "*batch"]:
  """mean - coefficient * standard deviation: a reward that avoids guesses.

  Args:
    posterior: see `fit`.
    features: of the item, best minus those of a reference answer.
    coefficient: standard deviations to subtract, at least 0.

  Gradient: flows through `features`; that of the deviation is 0 at 0.

  Raises:
    ValueError: if `coefficient` is negative.
  """
  checks.at_least("reward", 0.0, coefficient=coefficient)
  spread = variance(posterior, features)
  positive = spread > 0
  deviation = jnp.where(
      positive, jnp.sqrt(jnp.where(positive, spread, 1.0)), 0.0
  )
  return _means(posterior, features) - coefficient * deviation


def win_log_odds(
    posterior: Posterior, differences: Float[Array, "*batch D"]
) -> Float[Array, "*batch"]:
  """Log-odds of winning, the weights integrated out.

      mean / sqrt(1 + pi variance / 8)

  Never surer than the mean alone: MacKay's approximation of the mean of
  sigmoid under the posterior.

  Gradient: flows through `differences`.

  References:
    MacKay, "The Evidence Framework Applied to Classification Networks", 1992.
  """
  spread = variance(posterior, differences)
  return _means(posterior, differences) / jnp.sqrt(1 + math.pi / 8 * spread)


def _means(posterior, features):
  features = masking.as_accumulator(features)
  return jnp.matmul(
      features, posterior.mean, precision=jax.lax.Precision.HIGHEST
  )
