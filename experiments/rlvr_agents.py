"""All agents of a run: what they are made of, and on which devices."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections as mlc
import numpy as np
from jaxtyping import PyTree

from experiments import (
    rlvr_async,
    rlvr_config,
    rlvr_learner,
    rlvr_policy,
    warm_up,
)
from experiments.rlvr_learner import Agent
from experiments.rlvr_policy import Setup
from rewardjax.training import asynchronous
from rewardjax.training import mesh as meshes


class Groups(NamedTuple):
  """What is trained, and where."""

  setups: dict[str, Setup]  # arms of one program each, by the stage's name
  start: PyTree  # of a pretrained model; None: to be trained first
  meshes: rlvr_async.Meshes


def make_groups(
    config: mlc.ConfigDict,
    tokenizer,
    where: rlvr_async.Meshes | None = None,
) -> Groups:
  """Reads a pretrained model onto its devices, or describes a new one."""
  where = where or rlvr_async.make_meshes(config)
  place = functools.partial(
      meshes.place_leaf, where.learner, meshes.shard_rules()
  )
  model, start = rlvr_policy.make_model(config.model, tokenizer, place)
  if start is not None:  # only now it is known how long a head is
    rules = meshes.shard_rules(model.per_head)
    start = meshes.shard_tree(start, where.learner, rules)
  groups = rlvr_config.group_arms(rlvr_config.arm_configs(config))
  name = lambda i: f"train_{i}" if len(groups) > 1 else "train"
  setups = {
      name(i): rlvr_policy.make_setup(arms, model, tokenizer, start)
      for i, arms in enumerate(groups)
  }
  start = None if start is None else {"policy": start}
  return Groups(setups, start, where)


def _make_init(setup: Setup, mesh: jax.sharding.Mesh, start: PyTree):
  """Pure `(frozen, start) -> agents`; its result's shapes and shardings."""
  config = setup.config
  key = jax.random.fold_in(jax.random.key(config.seed), 1)
  # Arms share the keys of a seed: their differences are paired.
  keys = jax.random.split(key, config.num_seeds)
  per_seed = None if config.model.pretrained else 0

  def init(frozen, start):
    full = setup._replace(frozen=frozen)
    one = lambda arm, key, start: rlvr_learner.init(full, arm, key, start)
    each = jax.vmap(jax.vmap(one, (None, 0, per_seed)), (0, None, None))
    return each(jnp.arange(len(setup.arms)), keys, start)

  shapes = jax.eval_shape(init, setup.frozen, start)
  rules = meshes.shard_rules(setup.model.per_head)
  return init, shapes, meshes.shardings(shapes, mesh, rules)


def make_agents(setup: Setup, mesh: jax.sharding.Mesh, start: PyTree) -> Agent:
  """Agents `[A, S]` before the first step, placed on the mesh.

  `start` holds the parameters of every seed, `[S]`, or of a pretrained model.
  """
  init, _, shardings = _make_init(setup, mesh, start)
  return jax.jit(init, out_shardings=shardings)(setup.frozen, start)


def describe_start(setup: Setup) -> PyTree:
  """Shapes of what a warm-up ends with, `[S]`."""
  keys = jax.random.split(jax.random.key(0), setup.config.num_seeds)
  make = jax.vmap(lambda key: warm_up.init(setup, key))
  return jax.eval_shape(make, keys).params


def placed(shapes: PyTree, shardings: PyTree) -> PyTree:
  """Shapes that say where they lie."""
  place = lambda x, where: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=where
  )
  return jax.tree.map(place, shapes, shardings)


def describe_state(setup: Setup, mesh: jax.sharding.Mesh, start: PyTree):
  """What a checkpoint of `setup` holds: shapes, placed on the mesh."""
  _, shapes, shardings = _make_init(setup, mesh, start)
  agents = placed(shapes, shardings)
  if not rlvr_async.is_on(setup.config):
    return agents
  num_views = setup.config.asynchronous.lag + 1
  views = (rlvr_async.view(agents),) * num_views
  return asynchronous.AsyncState(agents, views, np.int32(0))
