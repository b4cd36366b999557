"""Exact expectations for one prompt: A actions, verdicts 0 and 1, float64.

An estimator is a table of weights `[A, 2]` of the score function by action
and verdict; or, for groups, advantages of a list of verdicts.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.types import NoiseRates


class World(NamedTuple):
  """A softmax policy, what each action is worth, and how the verifier errs."""

  probabilities: np.ndarray  # [A]
  truth: np.ndarray  # [A], 0 or 1
  rates: NoiseRates  # numbers, or arrays [A]

  @property
  def verdicts(self) -> np.ndarray:
    """P(verdict | action), [A, 2]."""
    rho0, rho1 = self.rates
    one = np.where(self.truth > 0, 1 - rho1, rho0)
    return np.stack([1 - one, one], -1)

  @property
  def joint(self) -> np.ndarray:
    """P(action, verdict), [A, 2]."""
    return self.probabilities[:, None] * self.verdicts

  @property
  def scores(self) -> np.ndarray:
    """Gradient of log p(action) with respect to the logits, [A, A]."""
    return np.eye(len(self.probabilities)) - self.probabilities

  @property
  def gradient(self) -> np.ndarray:
    """Gradient of the clean value with respect to the logits, [A]."""
    value = self.probabilities @ self.truth
    return self.probabilities * (self.truth - value)

  @property
  def acceptance(self) -> float:
    """q = P(verdict 1)."""
    return float(np.sum(self.joint[:, 1]))


def card_world(false_positive=0.1, false_negative=0.2) -> World:
  """The example with four actions, of which two are right."""
  logits = np.array([0.3, -0.2, 0.8, 0.0])
  p = np.exp(logits) / np.sum(np.exp(logits))
  rates = NoiseRates(false_positive, false_negative)
  return World(p, np.array([1.0, 0.0, 0.0, 1.0]), rates)


def in_float64(function: Callable, *args) -> np.ndarray:
  """Compiles a function of the library for float64 copies of the numbers."""
  with jax.enable_x64(True):
    wide = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), args)
    return jax.tree.map(np.asarray, jax.jit(function)(*wide))


def weight_table(world: World, correction: Callable, rates=None) -> np.ndarray:
  """What a correction makes of both verdicts on each action, [A, 2]."""
  observed = np.broadcast_to([0.0, 1.0], world.joint.shape)
  spread = lambda rate: np.broadcast_to(
      np.reshape(rate, (-1, 1)), world.joint.shape
  )
  rates = NoiseRates(*map(spread, world.rates if rates is None else rates))
  return in_float64(correction, observed, rates)


def expected_gradient(world: World, weights: np.ndarray) -> np.ndarray:
  """E[weight * score], [A]."""
  return np.sum(world.joint * weights, -1) @ world.scores


def gradient_variance(world: World, weights: np.ndarray) -> float:
  """Trace of the covariance of weight * score."""
  square = np.sum(world.joint * weights**2, -1)
  norms = np.sum(world.scores**2, -1)
  mean = expected_gradient(world, weights)
  return float(square @ norms - mean @ mean)


def binomial(n: int, q: float) -> np.ndarray:
  """P(k of n), [n + 1]."""
  return np.array(
      [math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n + 1)]
  )


def _rows(own: list[list[int]], n: int) -> np.ndarray:
  """Verdicts [len(own), n - m + 1, n]: own m first, then k = 0 .. ones."""
  free = n - len(own[0])
  rest = np.arange(free) < np.arange(free + 1)[:, None]
  return np.stack([
      np.concatenate([np.tile(verdicts, (free + 1, 1)), rest], -1)
      for verdicts in own
  ]).astype(float)


def group_moments(
    world: World, advantages: Callable, n: int, *args
) -> tuple[np.ndarray, float]:
  """Mean [A] and total variance of mean_i A_i score_i over groups of n.

  `advantages` maps verdicts `[..., n]` (and `args`) to advantages and must not
  depend on the actions or on the order of the samples. Sums over the number
  of ones among the others, for one sample and for pairs.
  """
  q = world.acceptance
  mass = world.joint.T  # [2, A]
  toward = mass @ world.scores  # E[score; verdict], [2, A]
  norms = mass @ np.sum(world.scores**2, -1)  # E[|score|^2; verdict], [2]
  one, two = _rows([[0], [1]], n), _rows(list(np.ndindex(2, 2)), n)
  rows = np.concatenate([x.reshape(-1, n) for x in (one, two)])
  values = in_float64(advantages, rows, *args)  # of all groups in one program
  single = values[: 2 * n].reshape(one.shape)[..., 0]
  double = values[2 * n :].reshape(two.shape)
  others = binomial(n - 1, q)
  mean = (single @ others) @ toward
  square = (single**2 @ others) @ norms
  products = (double[..., 0] * double[..., 1]) @ binomial(n - 2, q)
  cross = np.sum(products.reshape(2, 2) * (toward @ toward.T))
  variance = (square + (n - 1) * cross) / n - mean @ mean
  return mean, float(variance)
