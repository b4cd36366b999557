"""A study of noise in the shown working of arithmetic.

The function maps the fields of its config to a `Study`; see `noise_verdicts`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import networks
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.core.random import split_named
from rewardjax.data.traced_integers import TracedIntegers
from rewardjax.models import incremental
from rewardjax.models.transformer import Transformer
from rewardjax.policies import decoding
from rewardjax.policies.laws import SamplingLaw

_LAWS = {"greedy": SamplingLaw(0.0), "sampled": SamplingLaw()}


def _accuracy(key, model, params, clean, law):
  """Share of prompts whose last symbols before the end are the answer."""
  found = decoding.sample(
      key, incremental.decoder(model), params, clean.prompt,
      jnp.ones(clean.prompt.shape, bool), num_samples=1,
      max_new_tokens=clean.tokens.shape[1],
      stop_tokens=(model.vocab_size - 1,), law=law,
  )
  size = clean.truth.shape[1]
  last = jnp.sum(found.mask[:, 0], axis=1) - 1
  at = jnp.maximum(last[:, None] - size + jnp.arange(size)[None], 0)
  written = jnp.take_along_axis(found.tokens[:, 0], at, axis=1)
  right = jnp.all(written == clean.truth, axis=1) & ~found.truncated[:, 0]
  return jnp.mean(right.astype(jnp.float32))


def _batches(made, seeds, num_steps, batch_size):
  """The first items of each seed's sequence, a batch a step."""
  keys = jnp.stack([jax.random.key(seed) for seed in seeds])
  cut = lambda x: x.reshape(num_steps, batch_size, -1)

  @jax.jit
  @functools.partial(jax.vmap, in_axes=(0, None))
  def rows(key, ids):
    item = made.stream(key, ids)
    return networks.Rows(*map(cut, (item.prompt, item.tokens, item.mask)))

  return rows(keys, jnp.arange(num_steps * batch_size))


def tint_cot_noise(
    *, seed, num_seeds, task, conditions, model, num_steps, batch_size,
    num_test, learning_rate, clean_above,
) -> Study:
  """A small transformer learns from corrupted working, and is asked cleanly.

  `conditions` map names to fields of `TracedIntegers`; "clean", "static" and
  "dynamic" are compared.
  """
  model = Transformer(
      vocab_size=len(TracedIntegers(**task).alphabet), **model
  )
  test = TracedIntegers(**task, split="test").batch(jnp.arange(num_test))

  # `test` is an argument: XLA would fold a constant through the sampler.
  def run(key, rows, test):
    keys = split_named(key, "learn", *_LAWS)
    params = networks.imitate(
        keys["learn"], model, rows, learning_rate=learning_rate
    )
    return {
        name: _accuracy(keys[name], model, params, test, law)
        for name, law in _LAWS.items()
    }

  every_seed = jax.jit(jax.vmap(run, (0, 0, None)))
  seeds = range(seed, seed + num_seeds)
  keys = seed_keys(seed, num_seeds)
  found, rows = {}, []
  for name, fields in conditions.items():
    made = TracedIntegers(**{**task, **fields})
    made = _batches(made, seeds, num_steps, batch_size)
    found[name] = jax.device_get(every_seed(keys, made, test))
    rows += [
        mean_row(name, f"{law} accuracy", x) for law, x in found[name].items()
    ]
  clean = np.mean(found["clean"]["greedy"])
  static, dynamic = (
      np.mean(found[name]["sampled"]) for name in ("static", "dynamic")
  )
  return Study(
      "TInt: static and dynamic noise in the working",
      f"Clean greedy accuracy above {clean_above:g}; sampled accuracy after "
      "static noise above that after dynamic noise",
      bool(clean > clean_above and static > dynamic),
      rows,
      {},
  )
