"""A toy run that tests kill and start again.

Run: python -m tests.training.run_toy RUN_DIR --num_steps 40
"""

import argparse
import functools
import pathlib
import time

import jax
import jax.numpy as jnp

from rewardjax.training import loop
from rewardjax.training.checkpoints import Checkpointer
from rewardjax.training.logging import MetricsWriter
from rewardjax.training.preemption import StopFlag
from rewardjax.training.step import make_train_step
from tests.training import toy

NUM_STEPS, CHUNK, EVERY = 40, 2, 4


def init():
  """Training, a key that is split at every step, and a running statistic."""
  return {
      "train": toy.init(),
      "key": jax.random.key(1),
      "average": jnp.zeros(()),
  }


def make_step():
  train_step = make_train_step(noisy_loss, toy.OPTIMIZER, num_microbatches=2)

  def step(state, batch):
    key, step_key = jax.random.split(state["key"])
    train, metrics = train_step(state["train"], batch, step_key)
    average = 0.9 * state["average"] + 0.1 * metrics["loss"]
    metrics["average"] = average
    return {"train": train, "key": key, "average": average}, metrics

  return step


def noisy_loss(params, batch, key):
  features = batch["features"]
  features = features + 0.1 * jax.random.normal(key, features.shape)
  return toy.loss_fn(params, {**batch, "features": features}, key)


@functools.cache
def _one_device_chunk():
  return loop.compile_chunk(loop.make_chunk(make_step()), init())


def run(
    run_dir,
    *,
    num_steps=NUM_STEPS,
    state=None,
    batches=None,
    delay=0.0,
    progress=False,
    **options,
):
  def place(batches):
    time.sleep(delay)
    return batches

  run_dir = pathlib.Path(run_dir)
  options.setdefault("place", place)
  if state is None:
    state, chunk = init(), _one_device_chunk()
  else:
    chunk = loop.compile_chunk(loop.make_chunk(make_step()), state)
  with Checkpointer(run_dir / "checkpoints") as checkpointer:
    return loop.run_loop(
        chunk,
        state,
        toy.Counter() if batches is None else batches,
        num_steps=num_steps,
        chunk=CHUNK,
        checkpointer=checkpointer,
        every=EVERY,
        writer=MetricsWriter(run_dir, tensorboard=False),
        label="toy",
        progress=progress,
        **options,
    )


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument("run_dir")
  parser.add_argument("--num_steps", type=int, default=NUM_STEPS)
  parser.add_argument("--delay", type=float, default=0.0)
  args = parser.parse_args()
  with StopFlag() as stop:
    result = run(
        args.run_dir, num_steps=args.num_steps, delay=args.delay, stop=stop
    )
  print("stopped" if result.stopped else "finished", result.step, flush=True)


if __name__ == "__main__":
  main()
