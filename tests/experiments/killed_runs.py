"""Runs of `experiments.rlvr` that end before their end, and go on.

Run: python -m tests.experiments.killed_runs WORKDIR DATA
"""

import contextlib
import itertools
import os
import shutil
import signal
import sys

import jax

from experiments import rlvr_loops
from tests.experiments.rlvr_runs import run, small_config

# The command below ends here, while the checkpoint of step 8 is written.
LAST_ROW = 9


def resumable_config():
  """Long enough to be killed on the way; three passes over the data."""
  return small_config(
      num_steps=12,
      log_every=1,
      checkpoint_every=4,
      warm_up=dict(num_steps=8, batch_size=16),
      sampling=dict(batch_size=8),
      regularizer=dict(kl_in_reward=0.1),
      arms=dict(
          uncorrected=dict(),
          appeals=dict(correction=dict(name="backward", rates="appeals")),
      ),
  )


def killed(workdir, folder, stage="train"):
  """A copy of a run, as if killed while it wrote its newest checkpoint.

  The rows of the steps since the checkpoint before stay where they are.
  """
  shutil.copytree(workdir, folder)
  *before, newest = sorted((folder / "checkpoints" / stage).iterdir())
  assert before, f"{stage} has one checkpoint only"
  newest.rename(newest.with_name(f"{newest.name}.orbax-checkpoint-tmp-0"))
  return folder


def final_files(workdir):
  """The newest checkpoint's fingerprints, by stage, and the metrics."""
  found = {"metrics": (workdir / "metrics.jsonl").read_bytes()}
  for stage in (workdir / "checkpoints").iterdir():
    newest = max(stage.iterdir())
    found[stage.name] = (
        newest.name, (newest / "manifest/metadata").read_bytes()
    )  # fmt: skip
  return found


@contextlib.contextmanager
def resumed(folder):
  """Each loop inside is done once more, from the middle of a killed copy.

  Bit for bit, or an AssertionError. The second loop gets the compiled
  program of the first and nothing else: its state is a description, data and
  files are opened anew. Yields the names of the loops.
  """
  train, stages = rlvr_loops.train, []

  def twice(run, stage):
    described = jax.tree.map(_described, stage.state)
    ended = train(run, stage)
    copy = killed(run.workdir, folder / stage.name, stage.name)
    again = train(
        run._replace(workdir=copy), stage._replace(state=described)
    )
    assert again.step == ended.step and again.retraces == 0
    assert final_files(copy) == final_files(run.workdir)
    stages.append(stage.name)
    return ended

  rlvr_loops.train = twice
  try:
    yield stages
  finally:
    rlvr_loops.train = train


def _described(x):
  """Shape and place of what the first program may use up."""
  if not isinstance(x, jax.Array):
    return x
  where = x.sharding if x.committed else None
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)


def main(workdir, data_dir):
  """Stopped by its flag in the warm-up, then killed in reinforcement."""
  config = resumable_config()
  summary = run(config, workdir, data_dir, stop=lambda: True)
  assert summary is None
  warm_rows = config.warm_up.num_steps - 1  # that are left
  rows = itertools.count(1)

  def kill():
    if next(rows) == warm_rows + LAST_ROW:
      os.kill(os.getpid(), signal.SIGKILL)
    return False

  run(config, workdir, data_dir, stop=kill)


if __name__ == "__main__":
  from absl import logging

  logging.set_verbosity(logging.ERROR)
  main(*sys.argv[1:])
