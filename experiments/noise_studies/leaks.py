"""A study of what the leak probe sees in transformers that did and did not
train on the benchmark.

The function maps the fields of its config to a `Study`; see `noise_verdicts`.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from experiments.noise_studies import networks
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.data.expressions import RandomCalculation
from rewardjax.data.tokenizers import CharTokenizer
from rewardjax.diagnostics import leakage
from rewardjax.models import transformer
from rewardjax.models.transformer import Transformer

_TOKENIZER = CharTokenizer("0123456789+-*()=.")


class _Items(NamedTuple):
  """Problems from position 0: a prompt, its answer and a full stop."""

  tokens: Int[Array, "*batch T"]
  prompt_mask: Bool[Array, "*batch T"]
  answer_mask: Bool[Array, "*batch T"]


def _items(calculation, first, last, length) -> _Items:
  """Problems first .. last - 1 as NumPy arrays."""
  problems = [calculation[i] for i in range(first, last)]
  rows = [_TOKENIZER.encode(f"{x.prompt}{x.answer}.") for x in problems]
  tokens = np.zeros((len(rows), length), np.int32)
  for i, row in enumerate(rows):
    tokens[i, : len(row)] = row
  at = np.arange(length)[None]
  asked = at < np.array([len(x.prompt) for x in problems])[:, None]
  real = at < np.array([len(row) for row in rows])[:, None]
  return _Items(tokens, asked, real & ~asked)


def _batches(items, seed, num_steps, batch_size) -> networks.Rows:
  """Items in a random order, again and again: whole strings to imitate."""
  rng = np.random.default_rng(seed)
  wanted, size = num_steps * batch_size, len(items.tokens)
  rounds = [rng.permutation(size) for _ in range(-(-wanted // size))]
  order = np.concatenate(rounds)[:wanted].reshape(num_steps, batch_size)
  tokens = items.tokens[order]
  mask = (items.prompt_mask | items.answer_mask)[order]
  # A first token has nothing before it that could predict it.
  return networks.Rows(tokens[..., :1], tokens[..., 1:], mask[..., 1:])


def _stacked(rows):
  return jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]), *rows)


def _prober(model):
  """`(params, items, fraction) -> means`, for all seeds at once."""

  def apply(params, tokens, mask):
    found = transformer.features(model, params, tokens, mask)
    return transformer.logits(model, params, found)

  def probe(params, items, fraction):
    found = leakage.partial_prompt_probe(
        apply, params, *items, fraction=fraction
    )
    return {k: x.value for k, x in leakage.summary(found).items()}

  return jax.jit(jax.vmap(probe, (0, 0, None)))


def random_calculation_leak(
    *, seed, num_seeds, calculation, length, model, num_leaked, num_clean,
    num_probed, num_steps, batch_size, learning_rate, fractions, known,
    unknown,
) -> Study:
  """One model learns a benchmark by heart, another many other strings.

  `num_leaked` strings are the benchmark, `num_clean` the others. Both models
  are probed on the benchmark and on fresh strings that neither saw.
  """
  calculations = [
      RandomCalculation(seed=seed + i, **calculation) for i in range(num_seeds)
  ]
  tests = [dataclasses.replace(x, split="test") for x in calculations]
  leaked = [_items(x, 0, num_leaked, length) for x in tests]
  fresh = [
      _items(x, num_leaked, num_leaked + num_probed, length) for x in tests
  ]
  seen = {
      "leaked": leaked,
      "clean": [_items(x, 0, num_clean, length) for x in calculations],
  }
  model = Transformer(vocab_size=_TOKENIZER.vocab_size, **model)
  learn = jax.jit(jax.vmap(
      lambda key, rows: networks.imitate(
          key, model, rows, learning_rate=learning_rate
      )
  ))
  probe = _prober(model)
  sets = {
      "benchmark": _stacked(
          [jax.tree.map(lambda y: y[:num_probed], x) for x in leaked]
      ),
      "fresh": _stacked(fresh),
  }
  found = {}
  for name, items in seen.items():
    rows = _stacked(
        [_batches(x, i, num_steps, batch_size) for i, x in enumerate(items)]
    )
    params = learn(seed_keys(seed, num_seeds), rows)
    for fraction in fractions:
      for kind, asked in sets.items():
        out = jax.device_get(probe(params, asked, jnp.float32(fraction)))
        found[name, kind, fraction] = out
  return _study(found, fractions, known, unknown)


def _study(found, fractions, known, unknown) -> Study:
  rows = [
      mean_row(f"{name} model, {kind}", f"{metric} at {fraction:g}", x)
      for (name, kind, fraction), out in found.items()
      for metric, x in out.items()
  ]
  exact = {k: np.mean(x["exact"]) for k, x in found.items()}
  told = all(
      exact["leaked", "benchmark", f] >= known
      and exact["leaked", "fresh", f] <= unknown
      for f in fractions
  )
  quiet = all(
      abs(exact["clean", "benchmark", f] - exact["clean", "fresh", f])
      <= unknown
      for f in fractions
  )
  return Study(
      "Random calculation: the probe of a leaked benchmark",
      "At every fraction the leaked model completes at least "
      f"{known:g} of the benchmark exactly and at most {unknown:g} of fresh "
      f"prompts; the clean model's leak score is within {unknown:g} of 0",
      bool(told and quiet),
      rows,
      {},
  )
