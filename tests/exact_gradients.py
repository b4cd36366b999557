"""What an expected gradient is compared with, and how the two compare."""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tests import enumeration
from tests.enumeration import Moments, Space, World

_TOLERANCE = 1e-6  # what estimators' epsilons and float32 constants leave


def expected_score(
    space: Space, world: World, table=None, law=enumeration.PLAIN
) -> Callable:
  """params -> mean over prompts of E[table]; the clean reward by default."""
  table = world.rewards if table is None else table

  def value(params):
    drawn = enumeration.sequence_probabilities(space, world, params, law)
    return jnp.mean(jnp.sum(drawn * table, -1))

  return value


def sequence_kl(space: Space, world: World) -> Callable:
  """params -> mean over prompts of KL(policy || reference) of sequences."""

  def value(params):
    ours = enumeration.token_log_probs(space, world, params)
    theirs = enumeration.token_log_probs(space, world, world.reference)
    ratio = jnp.sum(jnp.where(space.mask, ours - theirs, 0.0), -1)
    probabilities = enumeration.sequence_probabilities(space, world, params)
    return jnp.mean(jnp.sum(probabilities * ratio, -1))

  return value


def token_kl(space: Space, world: World, *, forward: bool = False) -> Callable:
  """params -> the KL of each next-symbol law, summed along a sequence.

  The prefixes are those that the sampler visits, held constant: unlike
  `sequence_kl`, no credit for moving to prefixes with a smaller KL.
  `forward` swaps the arguments: KL(reference || policy).
  """

  def value(params):
    visits = enumeration.sequence_probabilities(space, world, world.behavior)
    logits = functools.partial(enumeration.logits_at, space, world)
    ours = jax.nn.log_softmax(logits(params))
    theirs = jax.nn.log_softmax(logits(world.reference))
    first, second = (theirs, ours) if forward else (ours, theirs)
    kl = jnp.sum(jnp.exp(first) * (first - second), -1)  # [B, S, T]
    total = jnp.sum(jnp.where(space.mask, kl, 0.0), -1)
    return jnp.mean(jnp.sum(visits * total, -1))

  return value


def exact_gradient(world: World, value: Callable) -> np.ndarray:
  """Gradient of `value(params)` at the world's parameters, flattened."""
  with jax.enable_x64(True):
    params = jnp.asarray(world.params, float)
    return np.asarray(jax.grad(value)(params)).ravel()


class Comparison(NamedTuple):
  """An expected gradient beside the one that it should be."""

  cosine: float
  scale: float  # of the component along the target
  bias: float  # |E - target| / |target|
  variance: float  # trace of the covariance over scale^2, if there is one
  verdict: str


def compare(moments: Moments, target: np.ndarray) -> Comparison:
  """Tells unbiased, unbiased up to a scale, reversed, biased and zero apart."""
  mean, norm = moments.mean, float(np.linalg.norm(target))
  size = float(np.linalg.norm(mean))
  if size < 1e-9 * norm:
    return Comparison(0.0, 0.0, 1.0, moments.variance, "no gradient")
  scale = float(mean @ target) / norm**2
  cosine = float(mean @ target) / (size * norm)
  bias = float(np.linalg.norm(mean - target)) / norm
  stray = float(np.linalg.norm(mean - scale * target)) / size
  if bias < _TOLERANCE:
    verdict = "unbiased"
  elif stray < _TOLERANCE:
    verdict = "unbiased up to scale" if scale > 0 else "reversed"
  else:
    verdict = "biased"
  return Comparison(cosine, scale, bias, moments.variance / scale**2, verdict)


@functools.partial(jax.jit, static_argnums=0)
def _first_advantages(advantage, verdicts):
  return jax.vmap(advantage)(verdicts)[:, 0]


def binomial_gain(
    advantage: Callable, success_rate: float, n: int, values=(0.0, 1.0)
) -> float:
  """E[A | own 1] - E[A | own 0] over n - 1 other 0/1 draws, by listing.

  For exchangeable samples of one prompt whose advantage depends on the 0/1
  verdicts alone, the expected gradient is this times that of the success
  rate: the factor by which a group statistic rescales learning.

  Args:
    advantage: maps verdicts `[G]` to advantages `[G]`.
    success_rate: of each verdict.
    n: G.
    values: what the advantage sees of a verdict of 0 and of 1.
  """
  others = np.array(list(itertools.product([0.0, 1.0], repeat=n - 1)))
  others = others.reshape(2 ** (n - 1), n - 1)
  odds = np.where(others > 0, success_rate, 1 - success_rate)
  own = np.repeat([[0.0], [1.0]], len(others), axis=0)
  verdicts = np.hstack([own, np.tile(others, (2, 1))])
  with jax.enable_x64(True):
    seen = np.where(verdicts > 0, values[1], values[0])
    low, high = np.split(np.asarray(_first_advantages(advantage, seen)), 2)
  return float(np.prod(odds, -1) @ (high - low))
