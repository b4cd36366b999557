"""All-reduces in a compiled data-parallel step, ours and a hand-written one.

Run: python -m benchmarks.collectives
Counts instructions of the optimised program on eight host devices; the
hand-written step is `psum((grads, metrics))` and nothing else. Under jit the
compiler adds after every microbatch; shard_map and pmap add after the last.
"""

import os
from typing import NamedTuple

if __name__ == "__main__":  # before jax starts a backend
  os.environ["XLA_FLAGS"] = " ".join([
      os.environ.get("XLA_FLAGS", ""),
      "--xla_force_host_platform_device_count=8",
  ])
  os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec as P

from benchmarks import programs
from rewardjax.core.masking import Mean
from rewardjax.training import mesh as meshes
from rewardjax.training.state import TrainState, init_state
from rewardjax.training.step import make_train_step

ROWS, WIDTH = 32, 16
OPTIMIZER = optax.sgd(0.1, momentum=0.9)


def loss_fn(params, batch, key):
  del key
  hidden = jnp.tanh(batch["x"] @ params["up"])
  error = jnp.square(hidden @ params["down"])[:, 0]
  mask = batch["mask"]
  return Mean.of(error, mask), {"hidden": Mean.of(hidden[:, 0], mask)}


def inputs():
  shapes = {"up": (WIDTH, WIDTH), "down": (WIDTH, 1)}
  params = {name: jnp.full(shape, 0.1) for name, shape in shapes.items()}
  mask = jnp.arange(ROWS) % 3 > 0
  batch = {"x": jnp.ones((ROWS, WIDTH)), "mask": mask}
  return init_state(params, OPTIMIZER), batch, jax.random.key(0)


def hand_written(state, batch, key):
  """What anybody would write with one `psum`, under check_vma=False."""

  def total(params):
    loss, metrics = loss_fn(params, batch, key)
    return loss.total, (loss, metrics)

  sums = jax.grad(total, has_aux=True)(state.params)
  grads, (loss, metrics) = jax.lax.psum(sums, "data")
  grads = jax.tree.map(lambda g: g / loss.weight, grads)
  updates, opt_state = OPTIMIZER.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  values = {name: mean.value for name, mean in metrics.items()}
  return TrainState(params, opt_state, state.step + 1), values | {
      "loss": loss.value
  }


class Count(NamedTuple):
  """All-reduce instructions of a program."""

  instructions: int
  buffers: int  # that they carry
  looped: int  # instructions inside a loop, which run once a microbatch


def all_reduces(compiled) -> Count:
  found = programs.collectives(compiled.as_text())
  found = [x for x in found if x.kind == "all-reduce"]
  buffers = sum(x.buffers for x in found)
  return Count(len(found), buffers, sum(x.looped for x in found))


def mapped(step, check_vma):
  mesh = meshes.make_mesh(8)
  specs = (P(), P("data"), P())
  step = jax.shard_map(
      step, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=check_vma
  )
  return jax.jit(step).lower(*inputs()).compile()


def sharded(step):
  mesh = meshes.make_mesh(8)
  state, batch, key = inputs()
  state, key = meshes.replicate((state, key), mesh)
  batch = meshes.shard_batch(batch, mesh)
  return jax.jit(step).lower(state, batch, key).compile()


def pmapped(step):
  state, batch, key = inputs()
  batch = jax.tree.map(lambda x: x.reshape(8, -1, *x.shape[1:]), batch)
  step = jax.pmap(
      step, axis_name="data", in_axes=(None, 0, None), out_axes=None
  )
  return step.lower(state, batch, key).compile()


def counts() -> dict[str, Count]:
  """All-reduces by way of running one step on eight devices."""
  ours = lambda **options: make_train_step(loss_fn, OPTIMIZER, **options)
  local = dict(axis_name="data")
  found = {
      "hand-written psum": mapped(hand_written, check_vma=False),
      "hand-written psum, pmap": pmapped(hand_written),
      "shard_map": mapped(ours(**local), check_vma=True),
      "shard_map, unchecked": mapped(ours(**local), check_vma=False),
      "shard_map, 4 microbatches": mapped(
          ours(**local, num_microbatches=4), check_vma=True
      ),
      "pmap": pmapped(ours(**local)),
      "jit": sharded(ours()),
      "jit, 4 microbatches": sharded(ours(num_microbatches=4)),
  }
  return {name: all_reduces(program) for name, program in found.items()}


def main():
  for name, count in counts().items():
    looped = f", {count.looped} in a loop" if count.looped else ""
    print(
        f"{name:28s} {count.instructions} all-reduces of {count.buffers} "
        f"buffers{looped}"
    )


if __name__ == "__main__":
  main()
