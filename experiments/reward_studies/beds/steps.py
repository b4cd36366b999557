"""Chains of steps whose errors are known, a weak completer, a small judge."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key, PyTree

from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.reward_models import fitting, process
from rewardjax.search import monte_carlo


class Chains(NamedTuple):
  """Chains of K steps; N is any number of leading axes.

  features: what a judge sees of each step.
  right: whether what stands after each step is right.
  skill: of the completer, per problem: its chance to finish what is right.
  """

  features: Float[Array, "*batch K D"]
  right: Bool[Array, "*batch K"]
  skill: Float[Array, "*batch"]

  @property
  def correct(self) -> Bool[Array, "*batch"]:
    """Whether the answer is right."""
    return self.right[..., -1]


def draw_chains(
    key: Key[Array, ""],
    num_chains: int,
    *,
    num_steps: int,
    num_features: int,
    signal: float,
    repair: float = 0.0,
    skill: tuple[float, float] = (0.5, 1.0),
) -> Chains:
  """Half of the chains have an error, at any step alike; the rest have none.

  Args:
    key: consumed.
    num_chains: N.
    num_steps: K.
    num_features: D.
    signal: how far right and wrong steps lie from 0, in standard deviations.
    repair: the chance that the step after an error mends it for good.
    skill: between which the completer's chances lie.
  """
  keys = split_named(key, "errs", "first", "mends", "features", "skill")
  errs = jax.random.bernoulli(keys["errs"], 0.5, (num_chains,))
  first = jax.random.randint(keys["first"], (num_chains,), 0, num_steps)
  first = jnp.where(errs, first, num_steps)[:, None]
  mends = jax.random.bernoulli(keys["mends"], repair, (num_chains, 1))
  places = jnp.arange(num_steps)[None]
  right = (places < first) | (mends & (places > first))
  features = step_features(
      keys["features"], right, num_features=num_features, signal=signal
  )
  low, high = skill
  chance = jax.random.uniform(
      keys["skill"], (num_chains,), minval=low, maxval=high
  )
  return Chains(features, right, chance)


def step_features(
    key: Key[Array, ""],
    right: Bool[Array, "*batch K"],
    *,
    num_features: int,
    signal: float,
) -> Float[Array, "*batch K D"]:
  """signal v + noise for right steps, -signal v + noise for others, |v| = 1."""
  noise = jax.random.normal(key, (*right.shape, num_features))
  shift = signal / jnp.sqrt(num_features)
  return noise + jnp.where(right, shift, -shift)[..., None]


def completed_values(
    key: Key[Array, ""],
    chains: Chains,
    *,
    num_samples: int,
    wrong_rate: float,
) -> Float[Array, "N K"]:
  """The share of completions of each beginning that end right.

  Args:
    key: consumed.
    chains: N of them.
    num_samples: completions of each beginning.
    wrong_rate: the chance that a wrong beginning still ends right.
  """
  chances = jnp.where(chains.right, chains.skill[:, None], wrong_rate)
  draw = lambda key, p, n: jax.random.bernoulli(key, p, (n,))
  verify = lambda _, ends_right: ends_right
  value = lambda key, p: monte_carlo.mc_step_values(
      key, draw, verify, p, num_samples=num_samples
  )
  return jax.vmap(value)(jax.random.split(key, chances.shape[0]), chances)


class Judge(NamedTuple):
  """A linear judge of single steps."""

  weights: Float[Array, " D"]
  bias: Float[Array, ""]

  def __call__(self, features: Float[Array, "*batch K D"]):
    """Logits `[*batch K]` that each step is right."""
    return features @ self.weights + self.bias


def step_loss(judge: Judge, batch, key) -> Mean:
  """`process.prm_loss` of features, targets and mask."""
  del key
  features, targets, mask = batch
  return Mean.of(process.prm_loss(judge(features), targets, mask), mask)


def fit_judge(
    key: Key[Array, ""],
    data: PyTree,
    *,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
    loss: fitting.Loss = step_loss,
) -> Judge:
  """A judge fitted from zero.

  Args:
    key: consumed.
    data: of N chains, features `[N, K, D]` first; what `loss` reads.
    num_steps: of Adam.
    batch_size: chains a step.
    learning_rate: of Adam.
    loss: `(judge, rows of data, key) -> Mean`; the default takes soft or hard
      labels `[N, K]` and a mask, True for steps with a label.
  """
  start = Judge(jnp.zeros(data[0].shape[-1]), jnp.zeros(()))
  return fitting.fit(
      key, start, loss, data,
      optimizer=optax.adam(learning_rate),
      num_steps=num_steps, batch_size=batch_size,
  ).params
