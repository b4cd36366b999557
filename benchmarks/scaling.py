"""What a GRPO update sends and holds on a mesh, compiled but never run.

For each mesh: collectives by kind (how often, and the bytes that arrive at
one device), and the memory of one device beside the formula of
`rewardjax.training.memory`. Only shapes exist, so that a model of eight
billion parameters compiles on a laptop.

Run: python -m benchmarks.scaling [--model=smollm2] [--devices=8] [--tiny]
     python -m benchmarks.scaling --plan        # the tables of docs/scaling.md
With libtpu installed, `--topology=v5e:8x8` asks the compiler of TPUs instead,
whose figures are those of the machine; no TPU is needed.
"""

import argparse
import math
import os
import time
from collections.abc import Iterable
from typing import NamedTuple

if __name__ == "__main__":  # before jax starts a backend
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  os.environ["XLA_FLAGS"] = " ".join([
      os.environ.get("XLA_FLAGS", ""),
      "--xla_force_host_platform_device_count=64",
  ])

import jax
import jax.numpy as jnp
import optax

from benchmarks import programs
from rewardjax.models import lora, transformer
from rewardjax.policies import log_probs
from rewardjax.recipes import policy_gradient
from rewardjax.training import memory, mesh
from rewardjax.training.state import init_state
from rewardjax.training.step import cast_floats, make_train_step
from rewardjax.types import Reward, Rollouts

# Public models by their shapes.
MODELS = {
    "tiny": dict(
        vocab_size=512,
        width=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        mlp_width=128,
    ),
    "smollm2": dict(
        vocab_size=49_152,
        width=576,
        num_layers=30,
        num_heads=9,
        num_kv_heads=3,
        mlp_width=1536,
    ),
    "qwen3-1.7b": dict(
        vocab_size=151_936,
        width=2048,
        num_layers=28,
        num_heads=16,
        num_kv_heads=8,
        head_dim=128,
        mlp_width=6144,
        qk_norm=True,
    ),
    "llama-8b": dict(
        vocab_size=128_256,
        width=4096,
        num_layers=32,
        num_heads=32,
        num_kv_heads=8,
        mlp_width=14_336,
        tied=False,
    ),
}
OPTIMIZER = optax.adam(1e-5)
LOGITS = 2**24  # alive on one device: 64 MiB in float32
TINY = memory.Batch(8, 2, 6, 6)

# What a device must have room for.
MACHINES = {
    "8 GPUs of 80 GB": (8, 80e9),
    "v5e-64": (64, 16e9),
}


class Program(NamedTuple):
  """One compiled update, and what it was made of."""

  compiled: jax.stages.Compiled
  seconds: float  # to lower and compile
  estimate: memory.Estimate


def make_model(
    name: str, *, dtype=jnp.float32, remat: bool = True
) -> transformer.Transformer:
  """One compiled layer for all: the program's size does not grow with them."""
  return transformer.Transformer(
      **MODELS[name], dtype=jnp.dtype(dtype), scan_layers=True, remat=remat
  )


def shapes_of(model, batch: memory.Batch):
  """Parameters, rollouts and rewards, as shapes."""
  one = jnp.zeros((1, 2), jnp.int32)
  params = jax.eval_shape(
      lambda: model.init(jax.random.key(0), one, one == 0)["params"]
  )
  b, g = batch.num_prompts, batch.group_size
  p, t = batch.prompt_length, batch.new_tokens
  shape = jax.ShapeDtypeStruct
  rollouts = Rollouts(
      shape((b, p), jnp.int32),
      shape((b, p), bool),
      shape((b, g, t), jnp.int32),
      shape((b, g, t), bool),
      shape((b, g, t), jnp.float32),
      shape((b, g), bool),
  )
  reward = Reward(shape((b, g), jnp.float32), shape((b, g), bool))
  return params, (rollouts, reward)


def make_update(
    model, *, lora_rank: int, num_microbatches: int, chunk_size: int
):
  """Returns `(state, frozen, batch, key) -> (state, metrics)`.

  `frozen` are the base parameters of adapters, and empty without them.
  """

  def update(state, frozen, batch, key):
    def loss_fn(params, batch, key):
      del key  # no dropout
      rollouts, reward = batch
      if lora_rank:
        params = lora.merge(frozen, params)
      features = transformer.completion_features(model, params, *rollouts[:4])
      table = transformer.unembedding(model, params)
      scores = log_probs.score_features(
          features,
          table,
          rollouts.tokens,
          rollouts.mask,
          chunk_size=chunk_size,
      )
      return policy_gradient.grpo(scores.log_probs, rollouts, reward)

    step = make_train_step(
        loss_fn,
        OPTIMIZER,
        num_microbatches=num_microbatches,
        compute_dtype=model.dtype,
    )
    return step(state, batch, key)

  return update


def compile_update(
    model: transformer.Transformer,
    batch: memory.Batch,
    layout: mesh.Mesh,
    *,
    lora_rank: int = 0,
) -> Program:
  """Lowers and compiles one update for the devices of `layout`."""
  params, data = shapes_of(model, batch)
  frozen = {}
  if lora_rank:
    frozen = jax.eval_shape(lambda x: cast_floats(x, model.dtype), params)
    make = lambda x: lora.init_lora(jax.random.key(0), x, rank=lora_rank)
    params = jax.eval_shape(make, params)
  state = jax.eval_shape(lambda x: init_state(x, OPTIMIZER), params)
  placed = lambda tree, where: jax.tree.map(
      lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
      tree,
      where,
  )
  rules = mesh.shard_rules(model.per_head)
  homes = mesh.shardings((state, frozen), layout, rules)
  split = jax.tree.map(lambda _: mesh.batch_sharding(layout), data)
  key = jax.eval_shape(lambda: jax.random.key(0))
  whole = mesh.shardings(key, layout, ())
  # Every chunk of tokens fetches a split table again: few, large chunks.
  rows = layout.shape["data"] * layout.shape["fsdp"]
  update = make_update(
      model,
      lora_rank=lora_rank,
      num_microbatches=batch.num_microbatches,
      chunk_size=rows * max(LOGITS // model.vocab_size, 1),
  )
  jitted = jax.jit(
      mesh.within(layout, update),
      donate_argnums=0,
      out_shardings=(homes[0], None),
  )
  arguments = (*placed((state, frozen), homes), placed(data, split))
  began = time.perf_counter()
  compiled = jitted.lower(*arguments, placed(key, whole)).compile()
  seconds = time.perf_counter() - began
  found = memory.estimate(
      model,
      batch,
      memory.Layout(*layout.shape.values()),
      compute_bytes=jnp.dtype(model.dtype).itemsize,
      remat=model.remat,
      lora_rank=lora_rank,
  )
  return Program(compiled, seconds, found)


def report(name: str, program: Program) -> list[str]:
  """Rows of both tables."""
  sent = programs.traffic(program.compiled.as_text())
  collectives = [
      f"{kind} {x.calls} ({x.bytes / 1e6:.1f})" for kind, x in sent.items()
  ]
  held, need = program.compiled.memory_analysis(), program.estimate
  compare = lambda formula, found: (
      f"{found / 1e6:.1f} | {formula / 1e6:.1f} | {formula / found:.2f}"
  )
  state = compare(need.arguments, held.argument_size_in_bytes)
  extra = compare(need.temporaries, held.temp_size_in_bytes)
  return [
      f"| {name} | {', '.join(collectives) or 'none'} |",
      f"| {name} | {state} | {extra} | {program.seconds:.0f} |",
  ]


def measure(
    model: transformer.Transformer,
    batch: memory.Batch,
    layouts: Iterable[mesh.Mesh],
    *,
    lora_rank: int = 0,
) -> None:
  """Prints both tables."""
  rows = []
  for layout in layouts:
    program = compile_update(model, batch, layout, lora_rank=lora_rank)
    name = " x ".join(map(str, layout.shape.values()))
    rows.append(report(name, program))
  print("| data x fsdp x tensor | collectives a step (MB a device) |")
  print("|---|---|")
  print("\n".join(first for first, _ in rows))
  compared = "MB | formula | formula / MB"
  print(f"\n| mesh | arguments, {compared} | temporaries, {compared} | s |")
  print("|---|---|---|---|---|---|---|---|")
  print("\n".join(second for _, second in rows))


# Updates of an 8B model: name, adapter rank, batch, mesh, machine.
PLANS = (
    ("all parameters", 0, (64, 8, 256, 512, 8), (1, 8, 1), "8 GPUs of 80 GB"),
    ("LoRA, rank 32", 32, (64, 8, 256, 512, 8), (1, 8, 1), "8 GPUs of 80 GB"),
    ("all parameters", 0, (64, 8, 256, 512, 1), (1, 64, 1), "v5e-64"),
    ("all parameters", 0, (64, 8, 256, 512, 1), (1, 16, 4), "v5e-64"),
    ("LoRA, rank 32", 32, (64, 8, 256, 512, 1), (1, 64, 1), "v5e-64"),
)


def plan(name: str = "llama-8b") -> str:
  """A table of what one device needs, in GB, by the formula alone."""
  model = make_model(name, dtype=jnp.bfloat16)
  parts = memory.Estimate._fields
  lines = [
      f"| {name} | machine | mesh | {' | '.join(parts)} | total | room |",
      "|---" * (len(parts) + 5) + "|",
  ]
  for trained, rank, batch, sizes, machine in PLANS:
    devices, room = MACHINES[machine]
    assert math.prod(sizes) == devices
    need = memory.estimate(
        model, memory.Batch(*batch), memory.Layout(*sizes), lora_rank=rank
    )
    cells = [f"{x / 1e9:.2f}" for x in (*need, need.total)]
    shape = " x ".join(map(str, sizes))
    lines.append(
        f"| {trained} | {machine} | {shape} | {' | '.join(cells)} | "
        f"{room / 1e9:.0f} |"
    )
  return "\n".join(lines)


def _shapes(options) -> list[tuple[int, ...]]:
  if options.mesh:
    return [tuple(map(int, x.split(","))) for x in options.mesh]
  n = options.devices
  shapes = [(1, 1, 1), (n, 1, 1), (1, n, 1), (1, 1, n)]
  if n % 8 == 0:
    shapes.append((n // 4, 2, 2))
  return list(dict.fromkeys(shapes))


def _devices(topology: str):
  if not topology:
    return jax.devices()
  from jax.experimental import topologies

  return topologies.get_topology_desc(topology, platform="tpu").devices


def main(argv: list[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--model", choices=MODELS, default="smollm2")
  parser.add_argument("--devices", type=int, default=8)
  parser.add_argument("--mesh", action="append", help="data,fsdp,tensor")
  parser.add_argument("--topology", default="", help="of TPUs, as v5e:8x8")
  parser.add_argument("--lora_rank", type=int, default=0)
  parser.add_argument("--no_remat", action="store_true")
  parser.add_argument("--dtype", help="bfloat16 on TPUs, else float32")
  for field, value in memory.Batch()._asdict().items():
    parser.add_argument(f"--{field}", type=int, default=value)
  parser.add_argument("--tiny", action="store_true", help="what tests run")
  parser.add_argument("--plan", action="store_true", help="of an 8B model")
  options = parser.parse_args(argv)
  if options.plan:
    print(plan())
    return
  fields = memory.Batch._fields
  batch = memory.Batch(*(getattr(options, field) for field in fields))
  if options.tiny:
    options.model, batch = "tiny", TINY
    options.mesh = options.mesh or ["1,1,1", "2,2,2"]
  devices = _devices(options.topology)
  # The CPU's compiler does the arithmetic of bfloat16 in float32 copies.
  dtype = options.dtype or ("bfloat16" if options.topology else "float32")
  model = make_model(
      options.model, dtype=dtype, remat=not options.no_remat
  )
  layouts = [
      mesh.make_mesh(*shape, devices=devices[: math.prod(shape)])
      for shape in _shapes(options)
  ]
  measure(model, batch, layouts, lora_rank=options.lora_rank)


if __name__ == "__main__":
  main()
