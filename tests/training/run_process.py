"""One of several processes that take data-parallel steps together.

Run: python -m tests.training.run_process OUT CHECKPOINTS, with the
environment that `rewardjax.training.distributed` reads.
"""

import sys

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from rewardjax.training import distributed, loop
from rewardjax.training import mesh as meshes
from rewardjax.training.checkpoints import Checkpointer
from rewardjax.training.logging import MetricsWriter
from rewardjax.training.step import make_train_step
from tests.training import run_toy, toy


def local_rows(batch):
  """This process's share of the rows."""
  count, index = jax.process_count(), jax.process_index()
  rows = toy.ROWS // count
  return jax.tree.map(lambda x: x[index * rows : (index + 1) * rows], batch)


class LocalBatches(toy.Counter):
  def __next__(self):
    return local_rows(super().__next__())


def take_steps(run_dir, mesh):
  """A step by `shard_map`, and steps of the loop by jit; what they found."""
  process = jax.process_index()
  state = meshes.replicate(toy.init(), mesh)
  key = meshes.replicate(jax.random.key(7), mesh)
  step = jax.shard_map(
      make_train_step(toy.loss_fn, toy.OPTIMIZER, axis_name="data"),
      mesh=mesh,
      in_specs=(P(), P("data"), P()),
      out_specs=P(),
  )
  batch = meshes.shard_batch(local_rows(toy.batch(0)), mesh)
  after, metrics = jax.jit(step)(state, batch, key)
  found = {
      "loss": np.asarray(metrics["loss"]),
      "embedding": np.asarray(after.params["embedding"]),
  }
  state = meshes.replicate(run_toy.init(), mesh)
  chunk = loop.make_chunk(run_toy.make_step())
  chunk = loop.compile_chunk(chunk, state, donate=False)
  # Only one process is asked to stop; all must, after the same chunk. Then
  # the second loop resumes from the checkpoint of the first.
  for is_asked in (process == 1, False):
    with Checkpointer(f"{run_dir}/checkpoints") as checkpointer:
      result = loop.run_loop(
          chunk,
          state,
          LocalBatches(),
          num_steps=4,
          chunk=2,
          checkpointer=checkpointer,
          writer=MetricsWriter(run_dir, tensorboard=False),
          stop=lambda: is_asked,  # noqa: B023
          place=lambda x: meshes.shard_batch(x, mesh, leading=1),
          progress=False,
      )
  params = result.state["train"].params
  found["loop/embedding"] = np.asarray(params["embedding"])
  return found


def main(out, run_dir):
  process = distributed.initialize()
  found = take_steps(run_dir, meshes.make_mesh())
  np.savez(f"{out}_{process}.npz", processes=jax.process_count(), **found)


if __name__ == "__main__":
  main(*sys.argv[1:])
