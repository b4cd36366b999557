"""Reinforcement learning of a language model from a verifier that may lie.

Flow, for every arm of the config and all its seeds at once: problems ->
completions -> verdicts -> noise -> correction -> credit -> loss -> update.
The arms start from one supervised warm-up and see the same problems. At the
end: a table here, and `report.html` with figures in the run directory.
Killed and started again with the same flags, a run ends bit for bit as if it
had never been killed.
"""

import contextlib
import functools
import pathlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections as mlc
from absl import app, flags, logging
from ml_collections import config_flags

from experiments import (
    commands,
    rlvr_config,
    rlvr_host,
    rlvr_learner,
    rlvr_policy,
    rlvr_programs,
    rlvr_report,
    tasks,
    verifying,
    warm_up,
)
from rewardjax.training import distributed, loop, mesh
from rewardjax.training.checkpoints import Checkpointer
from rewardjax.training.logging import MetricsWriter
from rewardjax.training.preemption import StopFlag


class Run(NamedTuple):
  """What all arms share."""

  config: mlc.ConfigDict
  workdir: pathlib.Path
  task: tasks.Task
  held_out: tasks.Problems
  mesh: jax.sharding.Mesh
  stop: Callable[[], bool]
  progress: bool


def train(run: Run, stage: str, program, state, num_steps: int, rows: int):
  """One loop that resumes where it was killed; `rows` problems a step."""
  config = run.config
  data = run.task.batches(
      seed=config.seed, num_seeds=config.num_seeds, batch_size=rows
  )
  checkpointer = Checkpointer(run.workdir / "checkpoints" / stage, keep=2)
  writer = MetricsWriter(run.workdir, stage=stage)
  with checkpointer, contextlib.closing(writer):
    return loop.run_loop(
        program,
        state,
        data,
        num_steps=num_steps,
        chunk=config.log_every,
        checkpointer=checkpointer,
        every=config.checkpoint_every,
        writer=writer,
        label=stage,
        stop=run.stop,
        place=lambda x: mesh.shard_batch(x, run.mesh, leading=2),
        progress=run.progress,
    )


def compiled(run: Run, program, state):
  """The jitted program, and its state where the mesh wants it.

  The state is a copy: the program donates it, and others may share it.
  """
  state = jax.tree.map(jnp.copy, state)
  state = mesh.shard_tree(state, run.mesh, mesh.shard_rules())
  return loop.compile_chunk(program, state), state


def run_warm_up(run: Run, setup: rlvr_policy.Setup, evaluate: Callable):
  """Supervised training of all seeds, shared by the arms."""
  chunk = loop.make_chunk(jax.vmap(warm_up.make_step(setup)))

  def program(states, problems):
    states, metrics = chunk(states, problems)
    return states, metrics | evaluate(states.params)

  keys = jax.random.split(jax.random.key(run.config.seed), run.config.num_seeds)
  states = jax.jit(jax.vmap(lambda key: warm_up.init(setup, key)))(keys)
  o = run.config.warm_up
  start = compiled(run, program, states)
  return train(run, "warm_up", *start, o.num_steps, o.batch_size)


def run_arms(run: Run, stage: str, setup: rlvr_policy.Setup, start, verifiers):
  """Reinforcement learning of all arms and seeds.

  `start` holds the parameters of every seed, `[S]`, or of a pretrained model.
  """
  config = setup.config
  key = jax.random.fold_in(jax.random.key(config.seed), 1)
  # Arms share the keys of a seed: their differences are paired.
  keys = jax.random.split(key, config.num_seeds)
  per_seed = None if config.model.pretrained else 0

  @jax.jit
  def init(frozen, start):
    full = setup._replace(frozen=frozen)
    one = lambda arm, key, start: rlvr_learner.init(full, arm, key, start)
    each = jax.vmap(jax.vmap(one, (None, 0, per_seed)), (0, None, None))
    return each(jnp.arange(len(setup.arms)), keys, start)

  agents = init(setup.frozen, start)
  evaluate = make_evaluate(run, setup, verifiers)
  if {config.verifier.name, config.verifier.trusted} == {"tokens"}:
    program = rlvr_programs.make_program(setup, evaluate)
    program, agents = compiled(run, program, agents)
  else:
    agents = mesh.shard_tree(agents, run.mesh, mesh.shard_rules())
    program = rlvr_host.HostProgram(setup, verifiers, evaluate)
  rows = config.sampling.batch_size * (config.sampling.max_refills + 1)
  return train(run, stage, program, agents, config.num_steps, rows)


def make_evaluate(run: Run, setup: rlvr_policy.Setup, verifiers) -> Callable:
  """Accuracy `[A, S]` on held-out problems, by the trusted verifier."""
  trusted = setup.config.verifier.trusted
  if trusted == "tokens":
    return jax.jit(jax.vmap(rlvr_programs.make_evaluate(setup, run.held_out)))
  return rlvr_host.make_evaluate(setup, run.held_out, verifiers[trusted])


def run(
    config: mlc.ConfigDict,
    workdir: str,
    *,
    data_dir: str | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: bool = True,
) -> dict[str, Any] | None:
  """Trains every arm and writes the report.

  Args:
    config: see `configs/rlvr/base.py`.
    workdir: holds config.json, metrics.jsonl, checkpoints, report and
      figures; a run found there is resumed.
    data_dir: where data sets are prepared.
    stop: read after every chunk of steps.
    progress: whether to show bars and the table.

  Returns:
    The summary that the report shows; None if stopped before the end.
  """
  arms = rlvr_config.arm_configs(config)
  workdir = pathlib.Path(workdir)
  rlvr_config.claim_workdir(config, workdir)
  task = tasks.make_task(config, data_dir)
  held_out = task.encode([task.held_out[i] for i in range(len(task.held_out))])
  sizes = config.mesh.to_dict()
  devices = jax.devices()[: rlvr_config.num_devices(sizes)]
  shared = Run(
      config,
      workdir,
      task,
      held_out,
      mesh.make_mesh(**sizes, devices=devices),
      stop,
      progress,
  )
  for name, arm in arms.items():
    if reason := rlvr_config.no_op_reason(arm):
      print(f"{name}: this correction changes no advantage. {reason}")
  place = functools.partial(mesh.place_leaf, shared.mesh, mesh.shard_rules())
  model, start = rlvr_policy.make_model(config.model, task, place)
  groups = [
      rlvr_policy.make_setup(group, model, task, start)
      for group in rlvr_config.group_arms(arms)
  ]
  with verifying.host_verifiers(arms.values(), task) as verifiers:
    stopped = False
    if start is None:
      evaluate = rlvr_programs.make_evaluate(groups[0], held_out)
      warm = run_warm_up(shared, groups[0], evaluate)
      start, stopped = warm.state.params, warm.stopped
    else:
      start = {"policy": start}
    for i, setup in enumerate(groups):
      if not stopped:
        stage = f"train_{i}" if len(groups) > 1 else "train"
        stopped = run_arms(shared, stage, setup, start, verifiers).stopped
  if stopped:
    return None
  return rlvr_report.write(config, workdir, arms, show=progress)


def define_flags() -> None:
  """Only for the command: other commands define the same names."""
  config_flags.DEFINE_config_file(
      "config",
      "configs/rlvr/noisy_verifier.py",
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


def main(argv):
  del argv
  logging.set_verbosity(logging.ERROR)  # tfds and Orbax tell of every file
  distributed.initialize()
  given = flags.FLAGS
  config = given.config
  workdir = given.workdir or f"runs/{config.slug}"
  try:  # what a user can mistype: one line, not a traceback
    rlvr_config.arm_configs(config)
    tasks.make_task(config, given.data_dir)
    rlvr_config.claim_workdir(config, pathlib.Path(workdir))
  except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")
  with StopFlag() as stop:
    summary = run(config, workdir, data_dir=given.data_dir, stop=stop)
  if summary is not None and given.write_results:
    rlvr_report.write_results(config, summary)


if __name__ == "__main__":
  define_flags()
  app.run(main, flags_parser=commands.parse_flags)
