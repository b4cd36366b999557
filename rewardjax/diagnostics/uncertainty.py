"""What comparisons leave open about a reward."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def inference_distance(
    edges: Int[Array, "E 2"],
    variances: Float[Array, " E"],
    *,
    num_nodes: int,
) -> Float[Array, "N N"]:
  """Var[r_i - r_j] of any two answers, given noisy differences of some.

  The effective resistance of a network with these resistances: in a row they
  add, side by side their inverses do.

  Args:
    edges: compared answers, 0 .. num_nodes - 1; a pair may come repeatedly.
    variances: of each difference, positive; of a comparison by a person whose
      noise is logistic pi^2 / 3, of an edge between alike answers less.
    num_nodes: N (static).

  Returns:
    Float32 or wider; 0 on the diagonal, inf between answers that no chain of
    edges joins.

  Gradient: flows through `variances` where the distance is finite.

  Raises:
    ValueError: if the numbers of edges differ.

  References:
    "Reward Generalization in RLHF: A Topological Perspective" (inference
      distance; the effective resistance is the exact Bayesian one, which the
      shortest path of the paper bounds from above).
  """
  where = "inference_distance"
  checks.same_shape(where, variances=variances, edges=edges[:, 0])
  checks.at_least(where, 1, num_nodes=num_nodes)
  conductance = 1 / masking.as_accumulator(variances)
  u, v = edges[:, 0], edges[:, 1]
  weights = jnp.zeros((num_nodes, num_nodes), conductance.dtype)
  weights = weights.at[u, v].add(conductance).at[v, u].add(conductance)
  eye = jnp.eye(num_nodes, dtype=bool)
  weights = jnp.where(eye, 0.0, weights)  # a node is not compared with itself
  laplacian = jnp.where(eye, jnp.sum(weights, axis=-1)[:, None], -weights)
  joined = _joined((weights > 0) | eye)
  # The projection on constants of each component: what L cannot see.
  share = joined / jnp.sum(joined, axis=-1, keepdims=True, dtype=weights.dtype)
  inverse = jnp.linalg.inv(laplacian + share)
  own = jnp.diagonal(inverse)
  distance = own[:, None] + own[None, :] - 2 * inverse
  return jnp.where(eye, 0.0, jnp.where(joined, distance, jnp.inf))


def _joined(near):
  """Which nodes some chain of edges joins."""
  for _ in range(max(1, math.ceil(math.log2(near.shape[0])))):
    near = jnp.any(near[:, :, None] & near[None, :, :], axis=1)
  return near


def difference_variance(
    kernel: Float[Array, "N N"],
    pairs: Int[Array, "P 2"],
    *,
    noise: Scalar,
) -> Float[Array, "N N"]:
  """Var[r_i - r_j] of a Gaussian process, given noisy differences of pairs.

  The full Bayesian twin of `inference_distance`: what items share is in the
  kernel instead of in edges. It depends on which pairs are compared, never on
  the outcome.

  Args:
    kernel: prior covariance of the rewards of N answers.
    pairs: answers compared.
    noise: variance of one comparison, positive; pi^2 / 3 of a logistic one.

  Returns:
    Symmetric, 0 on the diagonal.

  Gradient: flows through `kernel`.

  Raises:
    ValueError: if `noise` is not positive.

  References:
    Qiu et al., "Reward Generalization in RLHF: A Topological Perspective",
      2024, arXiv:2402.10184.
  """
  checks.within("difference_variance", 0.0, low_open=True, noise=noise)
  seen = kernel[:, pairs[:, 0]] - kernel[:, pairs[:, 1]]  # [N, P]
  among = seen[pairs[:, 0]] - seen[pairs[:, 1]]
  among = among + noise * jnp.eye(pairs.shape[0], dtype=kernel.dtype)
  factor = jnp.linalg.cholesky(among)
  whitened = jax.scipy.linalg.solve_triangular(factor, seen.T, lower=True)
  left = kernel - jnp.matmul(
      whitened.T, whitened, precision=jax.lax.Precision.HIGHEST
  )
  own = jnp.diagonal(left)
  spread = own[:, None] + own[None, :] - left - left.T
  return jnp.maximum(spread, 0.0)
