"""Scores of tokens, and their gradients, with and without all the logits.

Both paths return log-probs of [4, 512] tokens, width 576, vocabulary 49,152
(SmolLM2-135M) and their gradients to features and table. "Temporary" is what
the compiled program needs beyond its inputs and outputs.

Run: python -m benchmarks.log_probs [--tiny]
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rewardjax.policies import log_probs
from rewardjax.policies.laws import SamplingLaw

MEMORY_BUDGET = 1 / 8  # of the materialised path
TIME_BUDGET = 1.1


class Measured(NamedTuple):
  """One row of the table."""

  seconds: float  # wall, the fastest run
  processor_seconds: float  # all threads, the fastest run
  temporary_mib: float


def measure(function: Callable, *args, repeats: int) -> Measured:
  """Compiles, runs once to warm up, then `repeats` times."""
  compiled = jax.jit(function).lower(*args).compile()
  jax.block_until_ready(compiled(*args))
  wall, processor = [], []
  for _ in range(repeats):
    start = time.perf_counter(), time.process_time()
    jax.block_until_ready(compiled(*args))
    wall.append(time.perf_counter() - start[0])
    processor.append(time.process_time() - start[1])
  memory = compiled.memory_analysis().temp_size_in_bytes / 2**20
  return Measured(min(wall), min(processor), memory)


def paths(tokens, weights) -> dict[str, Callable]:
  """Values and gradients of one loss, by path; the first is the baseline."""

  def materialised(features, table):
    logits = jnp.einsum("btd,vd->btv", features, table)
    return log_probs.score_logits(logits, tokens)

  def chunked(law):
    return lambda features, table: log_probs.score_features(
        features, table, tokens, law=law
    )

  scores = {
      "materialised": materialised,
      "chunked": chunked(SamplingLaw()),
      "chunked, top_k 50": chunked(SamplingLaw(1.0, 50)),
      "chunked, top_p 0.95": chunked(SamplingLaw(1.0, 0, 0.95)),
  }

  def with_gradients(score):
    def loss(features, table):
      found = score(features, table).log_probs
      # Random tokens mostly lie outside a narrow law.
      return jnp.sum(jnp.where(jnp.isfinite(found), weights * found, 0.0))

    return jax.value_and_grad(loss, (0, 1))

  return {name: with_gradients(score) for name, score in scores.items()}


def main(argv: list[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--tiny", action="store_true", help="what tests run")
  parser.add_argument("--repeats", type=int, default=3)
  options = parser.parse_args(argv)
  shape, width, vocab_size = (4, 512), 576, 49_152
  if options.tiny:
    shape, width, vocab_size = (2, 16), 8, 1000
  keys = jax.random.split(jax.random.key(0), 4)
  features = jax.random.normal(keys[0], (*shape, width))
  table = jax.random.normal(keys[1], (vocab_size, width)) * width**-0.5
  tokens = jax.random.randint(keys[2], shape, 0, vocab_size)
  weights = jax.random.normal(keys[3], shape)
  print(f"tokens {shape}, width {width}, vocabulary {vocab_size}, float32")
  print(
      f"budget: memory {MEMORY_BUDGET:.3f}, time {TIME_BUDGET:g} of the"
      " materialised path"
  )
  print("| path | s | ratio | CPU s | ratio | temporary MiB | ratio |")
  print("|---|---|---|---|---|---|---|")
  base = None
  for name, function in paths(tokens, weights).items():
    found = measure(function, features, table, repeats=options.repeats)
    base = base or found
    ratios = [f"{x:.3f} | {x / y:.3f}" for x, y in zip(found, base)]
    print(f"| {name} | {' | '.join(ratios)} |", flush=True)


if __name__ == "__main__":
  main()
