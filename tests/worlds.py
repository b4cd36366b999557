"""Worlds to run estimators in, and what can be said of them exactly."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rewardjax.policies import laws
from rewardjax.types import NoiseRates
from tests import enumeration, exact_gradients
from tests.enumeration import Space, World

FALSE_POSITIVE, FALSE_NEGATIVE = 0.1, 0.2
YOUDEN = 0.7
ANSWERED = 0.7  # how often a verdict is known, where not always
BETA = 0.3  # of KL penalties in the reward

UNBIASED, SCALED, BIASED = "unbiased", "unbiased up to scale", "biased"
REVERSED, NOTHING = "reversed", "no gradient"


class Case(NamedTuple):
  """One row of the table.

  `ascends` names an entry of `objectives`; `scale` is the known factor, or
  None where there is none.
  """

  section: str
  name: str
  group_size: int
  space: Space
  world: World
  estimator: enumeration.Estimator
  verdict: str
  scale: float | None = None
  ascends: str = "reward"
  law: laws.SamplingLaw = enumeration.PLAIN
  scoring_law: laws.SamplingLaw | None = None


def constant_rates(shape, false_positive, false_negative) -> NoiseRates:
  full = lambda rate: np.broadcast_to(np.asarray(rate, float), shape)
  return NoiseRates(full(false_positive), full(false_negative))


def make_world(space: Space, rewards, seed=0, **fields) -> World:
  """Smooth but arbitrary parameters; a perfect verifier unless told."""
  rewards = np.asarray(rewards, float)
  draw = np.random.default_rng(seed).normal
  size = (space.num_contexts, space.num_symbols)
  params, shift, reference = draw(size=size), draw(size=size), draw(size=size)
  world = World(
      params=0.7 * params,
      behavior=0.7 * params,
      reference=0.7 * params + 0.5 * reference,
      offsets=0.8 * draw(size=(len(rewards), *size)),
      rewards=rewards,
      rates=constant_rates(rewards.shape, 0.0, 0.0),
      believed=constant_rates(rewards.shape, 0.0, 0.0),
      answered=np.ones(rewards.shape),
  )
  if fields.pop("off_policy", False):
    world = world._replace(behavior=world.params + 0.4 * shift)
  return world._replace(**fields)


ONE = enumeration.make_space(3, 2)  # 7 sequences of 1 or 2 symbols
TWO = enumeration.make_space(2, 3)  # 4 sequences of 1, 2 or 3 symbols
SHORT = enumeration.make_space(2, 2)  # 3 sequences of 1 or 2 symbols
FLAT = enumeration.make_space(4, 1, stop=False)  # 4 symbols, no time


def one_prompt(**fields) -> World:
  return make_world(ONE, [[0, 1, 0, 0, 1, 0, 1]], **fields)


def two_prompts(**fields) -> World:
  """A hard and an easy one (success 0.08 and 0.70), at odds with each other."""
  return make_world(TWO, [[0, 1, 0, 0], [1, 0, 0, 1]], seed=5, **fields)


def two_short_prompts(**fields) -> World:
  """Success 0.22 and 0.81; small enough for groups of four."""
  return make_world(SHORT, [[0, 1, 0], [1, 0, 0]], seed=10, **fields)


def noisy(make: Callable, false_positive, false_negative, **fields) -> World:
  """A world whose verifier errs, and whose corrections are told so."""
  world = make(**fields)
  rates = constant_rates(world.rewards.shape, false_positive, false_negative)
  return world._replace(rates=rates, believed=rates)


def four_actions(false_positive=0.1) -> World:
  """Four actions, two of them right, under a noisy verifier."""
  params = np.array([[0.3, -0.2, 0.8, 0.0]])
  world = make_world(FLAT, [[1, 0, 0, 1]])._replace(
      params=params, behavior=params, offsets=np.zeros((1, 1, 4))
  )
  rates = constant_rates((1, 4), false_positive, FALSE_NEGATIVE)
  return world._replace(rates=rates, believed=rates)


def objectives(space: Space, world: World, law, params) -> dict[str, Array]:
  """What the values of `Case.ascends` name, at `params`."""
  score = functools.partial(exact_gradients.expected_score, space, world)
  lengths = jnp.sum(space.mask, -1)[None]
  accepted = jnp.where(
      world.rewards > 0,
      1 - world.rates.false_negative,
      world.rates.false_positive,
  )
  # Independent of the sample, the baseline's mean is the success rate.
  rate = score(accepted)(world.params)
  reward = score()(params)
  kl = exact_gradients.sequence_kl(space, world)(params)
  token_kl = functools.partial(exact_gradients.token_kl, space, world)
  return {
      "reward": reward,
      "reward per token": score(world.rewards / lengths)(params),
      "reward per token, centred": score((accepted - rate) / lengths)(params),
      "reward under the law": score(law=law)(params),
      "reward - KL": reward - BETA * kl,
      "-KL of sequences": -kl,
      "-KL of tokens": -token_kl()(params),
      "-KL of tokens, swapped": -token_kl(forward=True)(params),
  }


@functools.partial(jax.jit, static_argnames="law")
def _gradients(space, world, law):
  value = functools.partial(objectives, space, world, law)
  return jax.jacrev(value)(world.params)


def exact_gradient(
    space: Space, world: World, law=enumeration.PLAIN, ascends: str = "reward"
) -> np.ndarray:
  """Gradient of one of `objectives` at the world's parameters, flattened."""
  with jax.enable_x64(True):
    return np.asarray(_gradients(space, world, law)[ascends]).ravel()


def success_rate(world: World, space: Space, observed: bool = True) -> float:
  """P(verdict 1) of a world with one prompt."""
  drawn = np.asarray(
      enumeration.sequence_probabilities(space, world, world.behavior)
  )
  fp, fn = world.rates
  table = np.where(world.rewards > 0, 1 - fn, fp)
  return float(np.sum(drawn * (table if observed else world.rewards)))


def at_least(n: int, count: int) -> float:
  """P(at least `count` of n verdicts are known)."""
  return sum(known(n, k) for k in range(count, n + 1))


def known(n: int, k: int) -> float:
  """P(exactly k of n verdicts are known)."""
  return math.comb(n, k) * ANSWERED**k * (1 - ANSWERED) ** (n - k)


def scaled(scale: float) -> tuple[str, float]:
  """The verdict that goes with a scale."""
  if scale == 0:
    return NOTHING, 0.0
  if scale < 0:
    return REVERSED, scale
  return (UNBIASED if abs(scale - 1) < 1e-12 else SCALED), scale
