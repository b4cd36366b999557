"""What the studies of rewards share: tables of logits, trained side by side."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.noise_studies import bandits as arms
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


def stacked(
    run: Callable[..., Any], arms: dict[str, Any], *, seed: int, num_seeds: int
) -> dict[str, Any]:
  """`run(key, arm)` like `side_by_side`, where arms are pytrees of one shape.

  They are mapped too: large models are compiled once, not for each arm.
  """
  each = jax.tree.map(lambda *x: jnp.stack(x), *arms.values())
  every = jax.vmap(jax.vmap(run, (None, 0)), (0, None))
  found = jax.device_get(jax.jit(every)(seed_keys(seed, num_seeds), each))
  pick = lambda i: jax.tree.map(lambda x: x[:, i], found)
  return {name: pick(i) for i, name in enumerate(arms)}


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


def first_above(lines: np.ndarray, level: float) -> np.ndarray:
  """Steps until each line reaches `level`; all its steps if it never does."""
  above = lines >= level
  first = np.argmax(above, axis=1) + 1
  return np.where(np.any(above, axis=1), first, lines.shape[1])


def trailing(lines: np.ndarray, window: int) -> np.ndarray:
  """Means of the last `window` values, of fewer at the start."""
  total = np.cumsum(lines, axis=-1)
  total[..., window:] -= total[..., :-window].copy()
  return total / np.minimum(np.arange(lines.shape[-1]) + 1, window)
