"""The loop of arms of `experiments.rlvr` whose problems a teacher writes.

The counterpart of `rlvr_loops.run_arms`: a step of the run is one of the
teacher's, and the data give the problems that gains are measured on.
"""

import functools

import jax
from jaxtyping import PyTree

from experiments import (
    rlvr_agents,
    rlvr_loops,
    rlvr_programs,
    rlvr_teaching,
    rlvr_writing,
    warm_up,
)
from experiments.rlvr_learner import Agent
from experiments.rlvr_loops import Run, Stage
from experiments.rlvr_policy import Setup
from experiments.rlvr_writing import Form
from rewardjax.training import loop
from rewardjax.training import mesh as meshes
from rewardjax.training.state import init_state


def run_arms(
    run: Run, name: str, setup: Setup, start: PyTree, verifiers
) -> loop.LoopResult:
  """All arms and seeds; see `rlvr_loops.run_arms`."""
  config, learner = setup.config, run.meshes.learner
  form = rlvr_writing.make_form(config, run.task)
  agents = rlvr_agents.make_agents(setup, learner, start)
  params, stopped = learn_to_write(run, name, setup, form, agents)
  if stopped is not None:
    return stopped
  states = make_states(setup, learner, agents, params)
  evaluate = rlvr_loops.make_evaluate(run, setup, verifiers)
  program = rlvr_teaching.make_program(setup, form, evaluate)
  program = loop.compile_chunk(program, states, setup.frozen)
  assess = jax.jit(meshes.within(learner, evaluate))
  before = lambda: rlvr_programs.by_arm(
      assess(agents, setup.frozen), setup.arms
  )
  hard = rlvr_writing.rows_of(run.task, tuple(config.teacher.hard_kinds))
  data = functools.partial(
      run.task._replace(train=hard).batches,
      batch_size=config.teacher.hard_size,
  )
  stage = Stage(name, program, states, config.num_steps, data, learner, before)
  return rlvr_loops.train(run, stage)


def learn_to_write(
    run: Run, name: str, setup: Setup, form: Form, agents: Agent
):
  """Supervised training of the teachers on problems of the data.

  Returns:
    Their parameters `[S]`, which arms share, and None; or how the loop ended
    that was stopped.
  """
  config = setup.config
  params = {"policy": agents.train.params["policy"]}
  params = jax.tree.map(lambda x: x[0], params)
  o = config.teacher.warm_up
  if not o.num_steps:
    return params, None
  writer = rlvr_writing.writer(setup)
  optimizer = warm_up.optimizer(writer.config)
  init = jax.vmap(lambda params: init_state(params, optimizer))
  rules = meshes.shard_rules(setup.model.per_head)
  states = meshes.shard_tree(jax.jit(init)(params), run.meshes.learner, rules)

  def program(states, texts, frozen):
    step = warm_up.make_step(writer._replace(frozen=frozen))
    return loop.make_chunk(jax.vmap(step))(states, texts)

  program = loop.compile_chunk(program, states, setup.frozen)
  data = functools.partial(rlvr_writing.batches, config, form, run.task)
  stage = Stage(
      f"{name}_writing",
      program,
      states,
      o.num_steps,
      data,
      run.meshes.learner,
  )
  ended = rlvr_loops.train(run, stage)
  return ended.state.params, ended if ended.stopped else None


def _make_init(setup: Setup, mesh: jax.sharding.Mesh, agents, params):
  """Pure `(agents, params) -> states`; its result's shapes and shardings."""
  one = lambda agent, params: rlvr_teaching.init(setup, agent, params)
  init = jax.vmap(jax.vmap(one), (0, None))
  shapes = jax.eval_shape(init, agents, params)
  rules = meshes.shard_rules(setup.model.per_head)
  return init, shapes, meshes.shardings(shapes, mesh, rules)


def make_states(
    setup: Setup, mesh: jax.sharding.Mesh, agents: Agent, params: PyTree
) -> rlvr_teaching.State:
  """States `[A, S]` before the first step, placed on the mesh.

  `params` are the teachers' `[S]`, which arms share.
  """
  init, _, shardings = _make_init(setup, mesh, agents, params)
  return jax.jit(init, out_shardings=shardings)(agents, params)


def describe_state(
    setup: Setup, mesh: jax.sharding.Mesh, start: PyTree
) -> rlvr_teaching.State:
  """What a checkpoint holds: shapes, placed; see `rlvr_agents`."""
  agents = rlvr_agents.describe_state(setup, mesh, start)
  shared = lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
  params = jax.tree.map(shared, {"policy": agents.train.params["policy"]})
  _, *described = _make_init(setup, mesh, agents, params)
  return rlvr_agents.placed(*described)
