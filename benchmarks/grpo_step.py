"""One GRPO step of a tiny model: sampling, scoring, update, and the bound.

4 layers, width 128, MLP 384, 4 heads, vocabulary 259, float32; 8 prompts of
16 tokens, 8 samples each, 64 new tokens, none of which stops early. "Scoring"
is one forward pass over the samples, which a reference policy needs; the
sampler records the behaviour's log-probs itself.

The bound is what the step's matrix products would take at the rate that this
machine reaches, at the same moment, on one large product.

Run: python -m benchmarks.grpo_step [--tiny]
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rewardjax.models import transformer
from rewardjax.policies import decoding, log_probs
from rewardjax.recipes import policy_gradient
from rewardjax.training import state as train_state
from rewardjax.training import step as train_step
from rewardjax.types import Reward


class Sizes(NamedTuple):
  """Of the batch and of the model."""

  num_prompts: int = 8
  group_size: int = 8
  prompt_length: int = 16
  new_tokens: int = 64
  vocab_size: int = 259
  width: int = 128
  num_layers: int = 4
  num_heads: int = 4
  mlp_width: int = 384


TINY = Sizes(2, 2, 4, 8, 19, 16, 2, 2, 24)


class Parts(NamedTuple):
  """The compiled functions of one step."""

  sample: Callable  # (params, key) -> rollouts
  score: Callable  # (params, rollouts) -> log-probs
  update: Callable  # (state, (rollouts, reward), key) -> (state, metrics)
  state: train_state.TrainState
  traces: dict[str, int]  # how often each was traced


def make_parts(sizes: Sizes) -> Parts:
  model = transformer.Transformer(
      sizes.vocab_size,
      sizes.width,
      sizes.num_layers,
      sizes.num_heads,
      sizes.mlp_width,
  )
  shape = (sizes.num_prompts, sizes.prompt_length)
  prompts = jax.random.randint(jax.random.key(1), shape, 0, sizes.vocab_size)
  mask = jnp.ones(shape, bool)
  params = jax.jit(model.init)(jax.random.key(0), prompts, mask)["params"]
  traces = dict(sample=0, score=0, update=0)

  def sample(params, key):
    traces["sample"] += 1
    return decoding.sample(
        key,
        transformer.decoder(model),
        params,
        prompts,
        mask,
        num_samples=sizes.group_size,
        max_new_tokens=sizes.new_tokens,
        stop_tokens=(),
    )

  def log_probs_of(params, rollouts):
    features = transformer.completion_features(model, params, *rollouts[:4])
    return log_probs.score_features(
        features,
        transformer.unembedding(model, params),
        rollouts.tokens,
        rollouts.mask,
    ).log_probs

  def score(params, rollouts):
    traces["score"] += 1
    return log_probs_of(params, rollouts)

  def loss_fn(params, batch, key):
    del key
    traces["update"] += 1
    rollouts, reward = batch
    found = log_probs_of(params, rollouts)
    return policy_gradient.grpo(found, rollouts, reward)

  optimizer = optax.adam(1e-4)
  update = train_step.make_train_step(loss_fn, optimizer)
  state = train_state.init_state(params, optimizer)
  # The state is consumed, so that Adam works in place.
  compiled = jax.jit(update, donate_argnums=0)
  return Parts(jax.jit(sample), jax.jit(score), compiled, state, traces)


def reward_of(rollouts) -> Reward:
  """Share of even tokens: any jittable verifier costs as little."""
  value = jnp.mean((rollouts.tokens % 2 == 0).astype(jnp.float32), axis=-1)
  return Reward(value, jnp.ones(value.shape, bool))


def matmul_flops(sizes: Sizes) -> tuple[float, float]:
  """Of sampling and of an update; attention's own products left out."""
  layer = 4 * sizes.width**2 + 3 * sizes.width * sizes.mlp_width
  body = 2 * sizes.num_layers * layer
  head = 2 * sizes.width * sizes.vocab_size
  rows = sizes.num_prompts * sizes.group_size
  new = rows * sizes.new_tokens
  prompt = sizes.num_prompts * sizes.prompt_length
  sampling = (new + prompt) * body + new * head
  update = 3 * (rows * (sizes.prompt_length + sizes.new_tokens)) * body
  return sampling, update + 3 * new * head


def matmul_rate(size: int) -> float:
  """Floating-point operations per second of one [size, size] product."""
  x = jnp.ones((size, size))
  product = jax.jit(jnp.matmul)
  return 2 * size**3 / best(lambda: product(x, x), repeats=5)


def best(run: Callable, *, repeats: int) -> float:
  """Seconds of the fastest call; one more goes first, which may compile."""
  jax.block_until_ready(run())
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(run())
    times.append(time.perf_counter() - start)
  return min(times)


def measure(sizes: Sizes, *, repeats: int) -> tuple[dict[str, float], int]:
  """Seconds of each part, fastest of `repeats`, and retraces after warm-up."""
  parts = make_parts(sizes)
  state, seconds = parts.state, {}
  clock = dict.fromkeys(("sampling", "scoring", "update"), float("inf"))
  for i in range(repeats + 2):
    if i == 2:  # the first update changes no shape, but let it settle
      warm = dict(parts.traces)
    key = jax.random.fold_in(jax.random.key(2), i)
    start = time.perf_counter()
    rollouts = jax.block_until_ready(parts.sample(state.params, key))
    seconds["sampling"] = time.perf_counter() - start
    reward = reward_of(rollouts)
    start = time.perf_counter()
    jax.block_until_ready(parts.score(state.params, rollouts))
    seconds["scoring"] = time.perf_counter() - start
    start = time.perf_counter()
    state, _ = jax.block_until_ready(
        parts.update(state, (rollouts, reward), key)
    )
    seconds["update"] = time.perf_counter() - start
    if i >= 2:
      clock = {name: min(clock[name], seconds[name]) for name in clock}
  return clock, sum(parts.traces.values()) - sum(warm.values())


def main(argv: list[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--tiny", action="store_true", help="what tests run")
  parser.add_argument("--repeats", type=int, default=10)
  options = parser.parse_args(argv)
  sizes = TINY if options.tiny else Sizes()
  seconds, retraces = measure(sizes, repeats=options.repeats)
  rate = matmul_rate(256 if options.tiny else 2048)
  sampling, update = (flops / rate for flops in matmul_flops(sizes))
  bounds = dict(sampling=sampling, scoring=update / 3, update=update)
  print("| part | s | matmul bound, s |")
  print("|---|---|---|")
  for name, bound in bounds.items():
    print(f"| {name} | {seconds[name]:.3f} | {bound:.3f} |")
  step = seconds["sampling"] + seconds["update"]
  print(f"| step (sampling + update) | {step:.3f} | {sampling + update:.3f} |")
  tokens = sizes.num_prompts * sizes.group_size * sizes.new_tokens
  print(f"\n{tokens / step:.0f} new tokens/s; {rate / 1e9:.0f} GFLOP/s")
  print(f"{retraces} retraces after warm-up")


if __name__ == "__main__":
  main()
