"""A study of noise in the shown working of arithmetic.

Each function maps the fields of its config to a `Study`; see `noise_cards`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.studies import Study, mean_row, seed_keys
from rewardjax.core import probability, reduction
from rewardjax.data.traced_integers import TracedIntegers
from rewardjax.models import incremental
from rewardjax.models.transformer import (
    Transformer,
    completion_features,
    logits,
)
from rewardjax.policies import decoding
from rewardjax.policies.laws import SamplingLaw


def _loss(model, params, item):
  """Mean negative log-likelihood of working and answer, in nats."""
  tokens, mask = item.tokens[:, None], item.mask[:, None]
  prompt_mask = jnp.ones(item.prompt.shape, bool)
  found = completion_features(
      model, params, item.prompt, prompt_mask, tokens, mask
  )
  log_probs = probability.token_log_probs(
      logits(model, params, found), tokens
  )
  return reduction.token_mean(-log_probs, mask).value


def _accuracy(key, model, params, clean, law):
  """Share of prompts whose last symbol before the end is the answer."""
  length = clean.tokens.shape[1]
  vocab = model.vocab_size
  found = decoding.sample(
      key, incremental.decoder(model), params, clean.prompt,
      jnp.ones(clean.prompt.shape, bool), num_samples=1,
      max_new_tokens=length, stop_tokens=(vocab - 1,), law=law,
  )
  answer = clean.answer.shape[1]
  last = jnp.sum(found.mask[:, 0], axis=1) - 1
  at = last[:, None] - answer + jnp.arange(answer)[None]
  written = jnp.take_along_axis(
      found.tokens[:, 0], jnp.maximum(at, 0), axis=1
  )
  right = jnp.all(written == clean.truth, axis=1) & ~found.truncated[:, 0]
  return jnp.mean(right.astype(jnp.float32))


def tint_cot_noise(
    *,
    seed,
    num_seeds,
    task,
    conditions,
    model,
    num_steps,
    batch_size,
    num_test,
    learning_rate,
    clean_above,
) -> Study:
  """A small transformer learns from corrupted working, and is asked cleanly.

  `conditions` map names to fields of `TracedIntegers`; "clean", "static" and
  "dynamic" are compared.
  """
  base = TracedIntegers(**task)
  model = Transformer(vocab_size=len(base.alphabet), **model)
  optimizer = optax.adam(
      optax.cosine_decay_schedule(learning_rate, num_steps, 0.1)
  )
  test = TracedIntegers(**task, split="test").batch(jnp.arange(num_test))

  # `test` is an argument: XLA would fold a constant through the sampler.
  def run(made, key, test):
    keys = jax.random.split(key, 4)
    params = model.init(keys[0], test.prompt, test.prompt >= 0)["params"]

    def step(carry, key):
      params, state = carry
      pairs = jax.random.split(key, (2, batch_size))
      item = jax.vmap(made.sample)(*pairs)
      slope = jax.grad(functools.partial(_loss, model))(params, item)
      updates, state = optimizer.update(slope, state)
      return (optax.apply_updates(params, updates), state), None

    carry = (params, optimizer.init(params))
    (params, _), _ = jax.lax.scan(
        step, carry, jax.random.split(keys[1], num_steps)
    )
    greedy = _accuracy(keys[2], model, params, test, SamplingLaw(0.0))
    drawn = _accuracy(keys[3], model, params, test, SamplingLaw())
    return greedy, drawn

  keys = seed_keys(seed, num_seeds)
  found, rows = {}, []
  for name, fields in conditions.items():
    made = TracedIntegers(**{**task, **fields})
    every_seed = jax.vmap(functools.partial(run, made), (0, None))
    greedy, drawn = jax.jit(every_seed)(keys, test)
    found[name] = np.mean(greedy), np.mean(drawn)
    rows.append(mean_row(name, "greedy accuracy", greedy))
    rows.append(mean_row(name, "sampled accuracy", drawn))
  return Study(
      "TInt: static and dynamic noise in the working",
      f"Clean greedy accuracy above {clean_above:g}; sampled accuracy after "
      "static noise above that after dynamic noise",
      bool(
          found["clean"][0] > clean_above
          and found["static"][1] > found["dynamic"][1]
      ),
      rows,
      {},
  )
