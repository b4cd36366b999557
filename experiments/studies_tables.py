"""What the studies of rewards share: tables of logits, trained side by side."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments import bandits as arms
from experiments.studies import Curves, mean_row, seed_keys
from rewardjax.environments import bandits
from rewardjax.types import Scalar


def side_by_side(
    run: Callable[..., Any], names: Sequence[str], *, seed: int, num_seeds: int
) -> dict[str, Any]:
  """`run(key, name)` for every name and seed, in one compiled program.

  All names see the same keys; the result is NumPy, seeds first.
  """
  every = lambda keys: {
      name: jax.vmap(functools.partial(run, name=name))(keys) for name in names
  }
  return jax.device_get(jax.jit(every)(seed_keys(seed, num_seeds)))


def draw(
    key: Key[Array, ""], logits: Float[Array, "B K"], *, group_size: int
) -> Int[Array, "B G"]:
  """G draws of each row's softmax."""
  shape = (logits.shape[0], group_size)
  return bandits.draw_arms(jax.random.uniform(key, shape), logits)


def ascend(
    logits: Float[Array, "B K"],
    chosen: Int[Array, "B G"],
    advantages: Float[Array, "B G"],
    *,
    learning_rate: Scalar,
) -> Float[Array, "B K"]:
  """One step of the score-function gradient, a mean over each row's draws."""
  slope = jax.grad(arms.surrogate)(logits, chosen, advantages)
  return logits - learning_rate * slope


def steps_of(lines: dict[str, np.ndarray]) -> np.ndarray:
  """1, 2, .. as many as the lines are long."""
  return np.arange(1, next(iter(lines.values())).shape[-1] + 1)


def curves(lines: dict[str, np.ndarray], label: str) -> Curves:
  """Lines over steps of learning."""
  return Curves(steps_of(lines), lines, "step", label)


def last_rows(lines: dict[str, np.ndarray], metric: str) -> list:
  """A row for the last value of each line."""
  return [mean_row(name, metric, x[:, -1]) for name, x in lines.items()]


def last_means(lines: dict[str, np.ndarray]) -> dict[str, float]:
  """The mean over seeds of the last value of each line."""
  return {name: float(jnp.mean(x[:, -1])) for name, x in lines.items()}
