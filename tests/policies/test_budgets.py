"""Budgets of the documentation that do not hang on the clock."""

import jax
import jax.numpy as jnp

from benchmarks import log_probs as benchmark


def test_scores_of_a_real_vocabulary_fit_into_an_eighth_of_the_memory():
  """Pain 29 (TRL #2598): compiled at SmolLM2's sizes, and not run."""
  tokens, weights = jnp.zeros((4, 512), int), jnp.ones((4, 512))
  shapes = [
      jax.ShapeDtypeStruct((4, 512, 576), jnp.float32),
      jax.ShapeDtypeStruct((49_152, 576), jnp.float32),
  ]
  found = {
      name: jax.jit(function).lower(*shapes).compile().memory_analysis()
      for name, function in benchmark.paths(tokens, weights).items()
  }
  limit = found.pop("materialised").temp_size_in_bytes / 8
  for name, memory in found.items():
    assert memory.temp_size_in_bytes <= limit, name


def test_the_table_prints(capsys):
  benchmark.main(["--tiny", "--repeats", "1"])
  printed = capsys.readouterr().out
  assert "| materialised |" in printed and "| chunked, top_k 50 |" in printed
