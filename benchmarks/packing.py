"""What answers of unequal length cost: halved batches and packed rows.

Lengths are those of a log-normal law, cut at T: most answers are short, a few
reach the end (median T / 4). The model is made to stop there, so that random
weights answer as a trained model does. "Rows" of sampling are rows of the
decoder's batch, summed over its steps; "tokens" of an update are all that the
model computes, prompts included.

Run: python -m benchmarks.packing [--model=smollm2] [--tiny]
"""

import argparse
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from benchmarks import workloads
from benchmarks.workloads import Batch, Workload
from rewardjax.core import packing
from rewardjax.core.masking import Mean
from rewardjax.models import incremental, transformer
from rewardjax.policies import decoding, log_probs
from rewardjax.types import Rollouts

STOP = 0  # the token that ends an answer
HALVINGS = (0, 1, 2, 3)


def draw_lengths(batch: Batch, *, spread: float = 0.8) -> np.ndarray:
  """Tokens of each answer, `[B, G]`: 2 to T, the stop token included."""
  longest = batch.new_tokens
  normal = np.random.default_rng(0).normal(
      size=(batch.num_prompts, batch.group_size)
  )
  lengths = np.rint(longest / 4 * np.exp(spread * normal))
  return np.clip(lengths, 2, longest).astype(np.int32)


class _Timed(NamedTuple):
  """A cache that knows when each of its rows ends."""

  cache: Any
  lengths: Int[Array, " N"]
  drawn: Int[Array, ""]


def ending(
    decoder: decoding.Decoder, lengths: Int[Array, " N"]
) -> decoding.Decoder:
  """The decoder, made to draw `STOP` as the last token of each sample."""

  def only(logits, ends):
    # Rows that end draw STOP, all others anything else.
    is_stop = jnp.arange(logits.shape[-1]) == STOP
    return jnp.where(ends[:, None] == is_stop[None], logits, -jnp.inf)

  def prefill(*args):
    logits, cache = decoder.prefill(*args)
    return only(logits, jnp.zeros(logits.shape[0], bool)), cache

  def repeat(cache, times):
    one = jnp.ones((), jnp.int32)
    return _Timed(decoder.repeat(cache, times), lengths, one)

  def step(params, tokens, timed):
    logits, cache = decoder.step(params, tokens, timed.cache)
    ends = timed.drawn == timed.lengths - 1
    timed = timed._replace(cache=cache, drawn=timed.drawn + 1)
    return only(logits, ends), timed

  def select(timed, rows):
    cache = decoder.select(timed.cache, rows)
    return _Timed(cache, timed.lengths[rows], timed.drawn)

  return decoding.Decoder(prefill, repeat, step, select)


def make_sample(workload: Workload, lengths, halvings: int) -> Callable:
  """Returns the compiled `(params, key) -> rollouts`."""
  model, _, batch = workload
  prompts, mask = workloads.prompts_of(workload)
  ends = jnp.asarray(lengths).reshape(-1)

  @jax.jit
  def sample(params, key):
    return decoding.sample(
        key,
        ending(incremental.decoder(model), ends),
        workloads.in_compute_dtype(workload, params),
        prompts,
        mask,
        num_samples=batch.group_size,
        max_new_tokens=batch.new_tokens,
        stop_tokens=(STOP,),
        halvings=halvings,
    )

  return sample


def rows_decoded(lengths: np.ndarray, halvings: int) -> int:
  """Rows of all steps of the decoder, by the rule of `decoding.sample`."""
  count, drawn, rows = lengths.size, 1, 0
  while True:
    half = count // 2 if halvings else 0
    while np.sum(lengths > drawn) > half:
      drawn, rows = drawn + 1, rows + count
    if not half:
      return rows
    count, halvings = half, halvings - 1


def lanes_needed(lengths: np.ndarray, room: int) -> int:
  """The fewest rows of `room` tokens that hold each prompt's answers."""
  lanes = max(1, math.ceil(lengths.sum(axis=1).max() / room))
  while not jnp.all(_plan(jnp.asarray(lengths), lanes, room).fits):
    lanes += 1
  return lanes


def _plan(lengths, lanes, room):
  return packing.first_fit(lengths, lanes=lanes, room=room, width=room)


def scores(
    workload: Workload, params, rollouts: Rollouts, lanes: int
) -> Array:
  """Log-probs `[B, G, T]`; `lanes` = 0 leaves the rows as they are."""
  model = workload.model
  table = transformer.unembedding(model, params)
  prompts, prompt_mask, tokens, mask = rollouts[:4]
  if not lanes:
    features = transformer.completion_features(
        model, params, prompts, prompt_mask, tokens, mask
    )
    return log_probs.score_features(features, table, tokens, mask).log_probs
  width = tokens.shape[-1]
  plan = _plan(jnp.sum(mask, axis=-1), lanes, width)
  rows = packing.pack(plan, tokens)
  features = transformer.completion_features(
      model, params, prompts, prompt_mask, rows, plan.mask, plan.segments
  )
  found = log_probs.score_features(features, table, rows, plan.mask)
  return packing.unpack(plan, found.log_probs, width)


def make_gradient(workload: Workload, lanes: int) -> Callable:
  """Returns the compiled `(params, rollouts) -> gradients` of a loss."""

  def loss(params, rollouts):
    params = workloads.in_compute_dtype(workload, params)
    found = scores(workload, params, rollouts, lanes)
    # What a policy gradient weighs them with does not matter here.
    return Mean.of(-found, rollouts.mask).value

  return jax.jit(jax.grad(loss))


def tokens_computed(batch: Batch, lanes: int) -> int:
  """Of a forward pass; the last token of a row of its own is not read."""
  per_prompt = batch.group_size * (batch.new_tokens - 1)
  if lanes:
    per_prompt = lanes * batch.new_tokens
  return batch.num_prompts * (batch.prompt_length + per_prompt)


def fastest(function: Callable, *args, repeats: int) -> float:
  """Seconds; one call goes first, which compiles."""
  workloads.seconds(function, *args)
  return min(workloads.seconds(function, *args)[0] for _ in range(repeats))


def report(
    workload: Workload, *, repeats: int, halvings: tuple[int, ...] = HALVINGS
) -> None:
  """Prints both tables."""
  params, batch = workload.params, workload.batch
  lengths, key = draw_lengths(batch), jax.random.key(2)
  samples, real = lengths.size, int(lengths.sum())
  print(
      f"{samples} answers of 2 to {batch.new_tokens} tokens, median "
      f"{np.median(lengths):.0f}, {real} tokens in all\n"
  )
  print("| halvings | rows decoded | of a full batch | s | ratio |")
  print("|---|---|---|---|---|")
  first = None
  for times in halvings:
    run = make_sample(workload, lengths, times)
    taken = fastest(run, params, key, repeats=repeats)
    first = first or taken
    rows = rows_decoded(lengths, times)
    share = rows / (samples * (batch.new_tokens - 1))
    cells = f"{rows} | {share:.2f} | {taken:.3f} | {taken / first:.2f}"
    print(f"| {times} | {cells} |", flush=True)
  rollouts = run(params, key)
  print("\n| update | tokens computed | real of them | s | ratio |")
  print("|---|---|---|---|---|")
  lanes, first = lanes_needed(lengths, batch.new_tokens), None
  real += batch.num_prompts * batch.prompt_length
  ways = {"padded": 0, f"packed, {lanes} rows a prompt": lanes}
  for name, rows in ways.items():
    run = make_gradient(workload, rows)
    taken = fastest(run, params, rollouts, repeats=repeats)
    first = first or taken
    tokens = tokens_computed(batch, rows)
    cells = f"{tokens} | {real / tokens:.2f} | {taken:.3f}"
    print(f"| {name} | {cells} | {taken / first:.2f} |", flush=True)


def main(argv: list[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  models = [name for name in workloads.MODELS if name != "test"]
  batch = workloads.BATCH
  parser.add_argument("--model", choices=models, default="tiny")
  parser.add_argument("--prompts", type=int, default=batch.num_prompts)
  parser.add_argument("--samples", type=int, default=batch.group_size)
  parser.add_argument("--new_tokens", type=int, default=128)
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--tiny", action="store_true", help="what tests run")
  options = parser.parse_args(argv)
  name = "test" if options.tiny else options.model
  batch = batch._replace(
      num_prompts=options.prompts,
      group_size=options.samples,
      new_tokens=options.new_tokens,
  )
  batch = workloads.TINY if options.tiny else batch
  large = name == "qwen3-1.7b"
  dtype = jnp.bfloat16 if large else jnp.float32
  report(
      workloads.load(name, batch, dtype=dtype),
      repeats=options.repeats,
      halvings=HALVINGS[:2] if options.tiny else HALVINGS,
  )


if __name__ == "__main__":
  main()
