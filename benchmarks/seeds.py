"""Thirty-two toy runs under vmap against one: what more seeds cost.

The toy is complete: prompts with one right arm each, a softmax policy per
prompt, sampled groups, leave-one-out advantages, a score loss, ascent.

Two ways to run it. "Loop": Python calls a compiled step, as a training loop
does; calls cost more than the toy's arithmetic, so seeds are nearly free, and
the budget is on this one. "Scan": all steps are one program. A CPU is then
busy with one seed already, and 32 cost as much as their arithmetic.

Run: python -m benchmarks.seeds
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rewardjax.advantages import group
from rewardjax.core import probability
from rewardjax.core.masking import Mean
from rewardjax.objectives import policy_gradient

BUDGET = 4.0  # times one run, called from Python
NUM_SEEDS = 32


class State(NamedTuple):
  """Prompts B with K arms each."""

  logits: Float[Array, "B K"]
  right: Int[Array, " B"]


class Toy(NamedTuple):
  """`init(key) -> state` and `step(state, key) -> (state, accuracy)`."""

  init: Callable[[Key[Array, ""]], State]
  step: Callable[[State, Key[Array, ""]], tuple[State, Float[Array, ""]]]


def make_toy(
    *,
    num_prompts: int = 2,
    num_arms: int = 4,
    group_size: int = 8,
    learning_rate: float = 1.0,
) -> Toy:
  """Builds a pure run; accuracy is the share of right samples in a step."""

  def init(key):
    right = jax.random.randint(key, (num_prompts,), 0, num_arms)
    return State(jnp.zeros((num_prompts, num_arms)), right)

  def per_sample(logits):
    shape = (num_prompts, group_size, num_arms)
    return jnp.broadcast_to(logits[:, None], shape)

  def step(state, key):
    arms = jax.random.categorical(key, per_sample(state.logits))
    rewards = (arms == state.right[:, None]).astype(jnp.float32)
    advantages = group.leave_one_out(rewards)

    def loss(logits):
      log_probs = probability.token_log_probs(per_sample(logits), arms)
      surrogate = policy_gradient.score_surrogate(log_probs, advantages)
      # Times prompts: each of them has parameters of its own.
      return num_prompts * Mean.of(surrogate).value

    logits = state.logits - learning_rate * jax.grad(loss)(state.logits)
    return state._replace(logits=logits), jnp.mean(rewards)

  return Toy(init, step)


def vmapped(toy: Toy) -> Toy:
  """The same toy over a leading axis of seeds."""
  return Toy(jax.vmap(toy.init), jax.vmap(toy.step))


def step_keys(keys: Key[Array, "*seeds"], index: Int[Array, ""] | int):
  """The keys of one step, one for each seed."""
  fold = lambda key: jax.random.fold_in(key, index)
  return jax.vmap(fold)(keys) if keys.ndim else fold(keys)


def loop(toy: Toy, keys: Key[Array, "*seeds"], *, num_steps: int):
  """Returns a function without arguments that runs compiled steps."""
  step = jax.jit(lambda state, i: toy.step(state, step_keys(keys, i)))
  start = jax.jit(toy.init)(keys)

  def run():
    state = start
    for i in range(num_steps):
      state, accuracy = step(state, i)
    return jax.block_until_ready((state, accuracy))

  return run


def scan(toy: Toy, keys: Key[Array, "*seeds"], *, num_steps: int):
  """Returns a function without arguments that runs one compiled program."""

  @jax.jit
  def program(keys):
    body = lambda state, i: toy.step(state, step_keys(keys, i))
    state, accuracies = jax.lax.scan(
        body, toy.init(keys), jnp.arange(num_steps)
    )
    return state, accuracies[-1]

  return lambda: jax.block_until_ready(program(keys))


def seconds(run: Callable[[], object], *, repeats: int) -> float:
  """The best of several calls; the first one, which compiles, is left out."""
  run()
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    run()
    times.append(time.perf_counter() - start)
  return min(times)


def measure(
    how: Callable, *, num_steps: int = 200, repeats: int = 5
) -> tuple[float, float]:
  """Seconds of one run, and of `NUM_SEEDS` runs together.

  Args:
    how: `loop` or `scan`.
    num_steps: updates in a run.
    repeats: the best of so many counts.
  """
  toy, keys = make_toy(), jax.random.split(jax.random.key(0), NUM_SEEDS)
  one = seconds(how(toy, keys[0], num_steps=num_steps), repeats=repeats)
  all_at_once = how(vmapped(toy), keys, num_steps=num_steps)
  return one, seconds(all_at_once, repeats=repeats)


def main(argv: list[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--repeats", type=int, default=10)
  repeats = parser.parse_args(argv).repeats
  print(f"| way | one, ms | {NUM_SEEDS} by vmap, ms | ratio | budget |")
  print("|---|---|---|---|---|")
  for how, budget in ((loop, f"{BUDGET:g}"), (scan, "")):
    one, many = measure(how, repeats=repeats)
    times = f"{1e3 * one:.1f} | {1e3 * many:.1f} | {many / one:.1f}"
    print(f"| {how.__name__} | {times} | {budget} |", flush=True)


if __name__ == "__main__":
  main()
