"""Samples and updates side by side, `config.asynchronous.lag` steps apart.

The counterpart of `rlvr_programs.make_program` and `rlvr_host.HostProgram`
for devices that only sample; see `rewardjax.training.asynchronous`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from experiments import rlvr_programs
from experiments.rlvr_learner import Agent
from experiments.rlvr_policy import Setup
from rewardjax.training import asynchronous
from rewardjax.training import mesh as meshes


class Meshes(NamedTuple):
  """Where a run samples and where it learns; one mesh if that is the same."""

  sampler: jax.sharding.Mesh
  learner: jax.sharding.Mesh


def is_on(config) -> bool:
  """Whether anything is to run side by side."""
  o = config.asynchronous
  return o.lag > 0 or o.sampler_devices > 0


def make_meshes(config) -> Meshes:
  """`config.mesh` learns; `config.asynchronous.sampler_devices` sample.

  Raises:
    ValueError: if there are not as many devices.
  """
  sizes, devices = config.mesh.to_dict(), jax.devices()
  num_sampler = config.asynchronous.sampler_devices
  if -1 not in sizes.values():
    wanted = int(np.prod(list(sizes.values()))) + num_sampler
    if wanted > len(devices):
      raise ValueError(
          f"config.mesh {sizes} and config.asynchronous.sampler_devices "
          f"{num_sampler} need {wanted} devices, there are {len(devices)}."
      )
    devices = devices[:wanted]
  found = asynchronous.split_devices(num_sampler, devices)
  learner = meshes.make_mesh(**sizes, devices=found.learner)
  if not num_sampler:
    return Meshes(learner, learner)
  return Meshes(meshes.make_mesh(devices=found.sampler), learner)


def view(agents: Agent) -> Agent:
  """What of the agents their sampler must know."""
  train = agents.train._replace(opt_state=())
  learned = dict(rates=(), reference=None, steps=(), spread=(), imitation=())
  return agents._replace(train=train, **learned)


def at_step(agents: Agent, step) -> Agent:
  """A view whose draws are those of an update that is yet to come."""
  counted = agents.train.step
  now = jax.device_put(
      np.full(counted.shape, step, counted.dtype), counted.sharding
  )
  return agents._replace(train=agents.train._replace(step=now))


def token_collector(setup: Setup, mesh: jax.sharding.Mesh) -> Callable:
  """`(agents, problems) -> (batch, {})`, as `rlvr_host.Collector`."""
  gather = rlvr_programs.compile_over(
      setup, mesh, rlvr_programs.make_gather, shared=True
  )
  return lambda agents, problems: (gather(agents, problems), {})


class AsyncProgram:
  """`(state, problems) -> (state, metrics)`; start from `init(agents)`."""

  def __init__(
      self,
      setup: Setup,
      where: Meshes,
      collect: Callable,
      learn: Callable,
      evaluate: Callable,
      agents: Agent,
  ):
    """`collect` on the sampler's mesh, `learn` on the learner's.

    Of `agents` only the shapes are read.
    """
    config = setup.config
    self._setup, self._evaluate = setup, evaluate
    rules = meshes.shard_rules(setup.model.per_head)
    rows = meshes.batch_sharding(where.learner, leading=2)
    views = meshes.shardings(view(agents), where.sampler, rules)

    def sample(agents, problems, step):
      updates = int(step) * config.updates_per_batch
      return collect(at_step(agents, updates), problems)

    def learn_one(agents, experience):
      batch, statuses = experience
      agents, metrics = learn(agents, batch)
      return agents, metrics | statuses

    self._program = asynchronous.make_async_program(
        sample,
        learn_one,
        lag=config.asynchronous.lag,
        view=view,
        sampler_sharding=views,
        learner_sharding=(rows, NamedSharding(where.learner, P())),
    )

  def init(self, agents: Agent) -> asynchronous.AsyncState:
    """The state before the first step."""
    return self._program.init(agents)

  def __call__(self, state, problems):
    """One chunk of steps; see `rlvr_programs.make_program`."""
    state, metrics = self._program(state, problems)
    agents = state.learner
    stale = jnp.broadcast_to(metrics.pop("staleness"), agents.arm.shape)
    metrics |= {"staleness": stale}
    metrics |= self._evaluate(agents, self._setup.frozen)
    return state, rlvr_programs.by_arm(metrics, self._setup.arms)
