"""The loops of `experiments.rlvr`: the warm-up, then each group of arms."""

import contextlib
import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import ml_collections as mlc
from jaxtyping import PyTree

from experiments import (
    rlvr_agents,
    rlvr_async,
    rlvr_curricula,
    rlvr_evaluation,
    rlvr_host,
    rlvr_measures,
    rlvr_policy,
    rlvr_programs,
    rlvr_sampling,
    tasks,
    verifying,
    warm_up,
)
from rewardjax.training import loop, mesh
from rewardjax.training.checkpoints import Checkpointer
from rewardjax.training.logging import MetricsWriter


class Run(NamedTuple):
  """What all arms share."""

  config: mlc.ConfigDict
  workdir: pathlib.Path
  task: tasks.Task
  held_out: tasks.Problems
  meshes: rlvr_async.Meshes
  stop: Callable[[], bool]
  progress: bool


class Stage(NamedTuple):
  """One loop of a run."""

  name: str
  program: Callable
  state: PyTree
  num_steps: int
  data: Callable  # batches, from the numbers of seeds and their seed
  mesh: jax.sharding.Mesh  # that problems are placed on
  # Metrics of step 0, of the state that nothing has changed.
  before: Callable[[], dict] | None = None


def train(run: Run, stage: Stage) -> loop.LoopResult:
  """One loop that resumes where it was killed."""
  config = run.config
  data = stage.data(seed=config.seed, num_seeds=config.num_seeds)
  folder = run.workdir / "checkpoints" / stage.name
  checkpointer = Checkpointer(folder, keep=2)
  writer = MetricsWriter(run.workdir, stage=stage.name)
  with checkpointer, contextlib.closing(writer):
    if stage.before is not None and not checkpointer.steps():
      writer.truncate(-1)  # what a start that was killed has written
      writer.write(0, jax.device_get(stage.before()))
    return loop.run_loop(
        stage.program,
        stage.state,
        data,
        num_steps=stage.num_steps,
        chunk=config.log_every,
        checkpointer=checkpointer,
        every=config.checkpoint_every,
        writer=writer,
        label=stage.name,
        stop=run.stop,
        place=lambda x: mesh.shard_batch(x, stage.mesh, leading=2),
        progress=run.progress,
    )


def run_warm_up(run: Run, setup: rlvr_policy.Setup) -> tuple[PyTree, bool]:
  """Supervised training of all seeds, shared by the arms.

  Returns:
    The parameters of every seed, `[S]`, and whether it was stopped. With no
    step to take they are as they were drawn.
  """
  states = _draw_policies(run, setup)
  o = run.config.warm_up
  if not o.num_steps:
    return states.params, False
  chunk = loop.make_chunk(jax.vmap(warm_up.make_step(setup)))
  evaluate = jax.vmap(rlvr_evaluation.make_success(setup, run.held_out))

  def program(states, problems):
    states, metrics = chunk(states, problems)
    return states, metrics | evaluate(states.params)

  program = loop.compile_chunk(program, states)
  data = functools.partial(
      run.task.batches, batch_size=o.batch_size, column=run.task.shown
  )
  stage = Stage(
      "warm_up", program, states, o.num_steps, data, run.meshes.learner
  )
  ended = train(run, stage)
  return ended.state.params, ended.stopped


def _draw_policies(run, setup):
  """One fresh policy a seed, on its devices."""
  keys = jax.random.split(jax.random.key(run.config.seed), run.config.num_seeds)
  states = jax.jit(jax.vmap(lambda key: warm_up.init(setup, key)))(keys)
  rules = mesh.shard_rules(setup.model.per_head)
  return mesh.shard_tree(states, run.meshes.learner, rules)


def run_arms(
    run: Run, name: str, setup: rlvr_policy.Setup, start: PyTree, verifiers
) -> loop.LoopResult:
  """Reinforcement learning of all arms and seeds.

  `start` holds the parameters of every seed, `[S]`, or of a pretrained model.
  """
  config, learner = setup.config, run.meshes.learner
  setup = rlvr_sampling.with_catalogue(setup, run.task)
  agents = rlvr_agents.make_agents(setup, learner, start)
  evaluate = make_evaluate(run, setup, verifiers)
  assess = evaluate
  if config.verifier.trusted == "tokens":
    assess = jax.jit(mesh.within(learner, evaluate))
  if reads_tokens(config) and not rlvr_async.is_on(config):
    program = rlvr_programs.make_program(setup, evaluate)
    program = loop.compile_chunk(program, agents, setup.frozen)
    state = agents
  else:
    program, state = _staged(run, setup, verifiers, assess, agents)
  before = lambda: rlvr_programs.by_arm(
      assess(agents, setup.frozen), setup.arms
  )
  rows = config.sampling.batch_size * (config.sampling.max_refills + 1)
  sampler = run.meshes.sampler
  data = functools.partial(
      run.task.batches, batch_size=rows, by_kind=rlvr_curricula.is_on(config)
  )
  stage = Stage(name, program, state, config.num_steps, data, sampler, before)
  return train(run, stage)


def _staged(run, setup, verifiers, assess, agents):
  """Sampling and learning as two programs, and the state they start from."""
  collect = make_collector(run, setup, verifiers)
  learn = rlvr_programs.compile_learn(setup, agents)
  if not rlvr_async.is_on(setup.config):
    return rlvr_host.HostProgram(setup, collect, learn, assess), agents
  program = rlvr_async.AsyncProgram(
      setup, run.meshes, collect, learn, assess, agents
  )
  return program, program.init(agents)


def reads_tokens(config) -> bool:
  """Whether no verifier reads text: a whole chunk may be one program."""
  verifiers = {config.verifier.name, config.verifier.trusted}
  return verifiers == {"tokens"} and not rlvr_measures.reads_text(config)


def make_collector(run: Run, setup: rlvr_policy.Setup, verifiers) -> Callable:
  """What samples and judges a batch, on the sampler's mesh."""
  sampler = run.meshes.sampler
  if sampler != run.meshes.learner:
    rules = mesh.shard_rules(setup.model.per_head)
    frozen = mesh.shard_tree(setup.frozen, sampler, rules)
    setup = setup._replace(frozen=frozen)
  if reads_tokens(setup.config):
    return rlvr_async.token_collector(setup, sampler)
  read_numbers = functools.partial(verifying.number_ids, run.task)
  return rlvr_host.Collector(setup, sampler, verifiers, read_numbers)


def make_evaluate(run: Run, setup: rlvr_policy.Setup, verifiers) -> Callable:
  """Accuracy `[A, S]` on held-out problems, by the trusted verifier."""
  trusted = setup.config.verifier.trusted
  if trusted == "tokens":
    return rlvr_evaluation.make_evaluate(setup, run.held_out)
  return rlvr_host.make_evaluate(
      setup, run.meshes.learner, run.held_out, verifiers[trusted]
  )
