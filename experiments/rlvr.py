"""Reinforcement learning of a language model from a verifier that may lie.

Flow, for every arm of the config and all its seeds at once: problems ->
completions -> verdicts -> noise -> correction -> credit -> loss -> update.
The arms start from one supervised warm-up, or from a pretrained model, and see
the same problems. At the end: a table here, and `report.html` with figures in
the run directory. Killed and started again with the same flags, a run ends
bit for bit as if it had never been killed.
"""

import math
import pathlib
import sys
from collections.abc import Callable

import ml_collections as mlc
from absl import app, flags, logging
from ml_collections import config_flags

from experiments import (
    commands,
    rlvr_agents,
    rlvr_async,
    rlvr_checks,
    rlvr_config,
    rlvr_loops,
    rlvr_report,
    rlvr_teacher,
    rlvr_teacher_config,
    tasks,
    verifying,
)
from rewardjax.training import distributed
from rewardjax.training.checkpoints import NotSavedError
from rewardjax.training.preemption import StopFlag


def run(
    config: mlc.ConfigDict,
    workdir: str,
    *,
    data_dir: str | None = None,
    task: tasks.Task | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: bool = True,
    write: Callable | None = None,
):
  """Trains every arm and writes the report.

  Args:
    config: see `configs/rlvr/base.py`.
    workdir: holds config.json, metrics.jsonl, checkpoints, report and
      figures; a run found there is resumed.
    data_dir: where data sets are prepared.
    task: the config's, where it has been made already.
    stop: read after every chunk of steps.
    progress: whether to show bars and the table.
    write: `(config, workdir, arms, *, show) -> summary` writes the report;
      None is `rlvr_report.write`.

  Returns:
    The summary that the report shows; None if stopped before the end.
  """
  arms = rlvr_config.arm_configs(config)
  rlvr_checks.check_processes(arms.values())
  workdir = pathlib.Path(workdir)
  task = task or tasks.make_task(config, data_dir)
  rlvr_config.claim_workdir(config, workdir)
  held_out = task.encode([task.held_out[i] for i in range(len(task.held_out))])
  for name, arm in arms.items():
    if reason := rlvr_config.no_op_reason(arm):
      print(f"{name}: this correction changes no advantage. {reason}")
  groups = rlvr_agents.make_groups(config, task.tokenizer)
  shared = rlvr_loops.Run(
      config, workdir, task, held_out, groups.meshes, stop, progress
  )
  start, stopped = groups.start, False
  with verifying.host_verifiers(arms.values(), task) as verifiers:
    if start is None:
      first = next(iter(groups.setups.values()))
      start, stopped = rlvr_loops.run_warm_up(shared, first)
    for name, setup in groups.setups.items():
      if not stopped:
        taught = rlvr_teacher_config.is_on(setup.config)
        loops = rlvr_teacher if taught else rlvr_loops
        ended = loops.run_arms(shared, name, setup, start, verifiers)
        stopped = ended.stopped
  if stopped:
    return None
  write = write or rlvr_report.write
  return write(config, workdir, arms, show=progress)


def define_flags(config: str) -> None:
  """Only for a command: other commands define the same names.

  Args:
    config: the file that is read where none is given.
  """
  config_flags.DEFINE_config_file(
      "config",
      config,
      "What to run; any field can be changed: --config.num_steps=50.",
      lock_config=True,
  )
  flags.DEFINE_string(
      "workdir", None, "Where the run is written; runs/<slug> if absent."
  )
  flags.DEFINE_string(
      "data_dir", None, "Where data sets are kept; the user's cache if absent."
  )
  flags.DEFINE_bool(
      "write_results", False, "Also write docs/results/<config.slug>.json."
  )


def run_command(config: mlc.ConfigDict, write: Callable | None = None):
  """`run` with the flags; what a user can mistype is one line and the end."""
  given = flags.FLAGS
  workdir = given.workdir or f"runs/{config.slug}"
  try:
    arms = rlvr_config.arm_configs(config)
    learner = abs(math.prod(config.mesh.values()))  # -1 takes what is left
    commands.use_cpu_devices(learner + config.asynchronous.sampler_devices)
    rlvr_checks.check_processes(arms.values())
    rlvr_async.make_meshes(config)
    task = tasks.make_task(config, given.data_dir)
    rlvr_config.claim_workdir(config, pathlib.Path(workdir))
  except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")
  try:
    with StopFlag() as stop:
      return run(config, workdir, task=task, stop=stop, write=write)
  except NotSavedError as error:
    sys.exit(f"error: {error}")


def main(argv):
  del argv
  logging.set_verbosity(logging.ERROR)  # tfds and Orbax tell of every file
  distributed.initialize()
  config = flags.FLAGS.config
  summary = run_command(config)
  if summary is not None and flags.FLAGS.write_results:
    rlvr_report.write_results(config, summary)


if __name__ == "__main__":
  commands.keep_freed_memory()
  define_flags("configs/rlvr/noisy_verifier.py")
  app.run(main, flags_parser=commands.parse_flags)
