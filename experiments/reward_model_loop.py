"""Training of `experiments.reward_model`: members side by side, stopped early.

Axes: M members, C steps of a chunk, N blocks of a batch.
"""

import contextlib
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from experiments import reward_model_backbones, reward_model_losses
from experiments.reward_model_backbones import Model
from experiments.reward_model_batches import Batches
from rewardjax.core import mapping
from rewardjax.core.masking import Mean
from rewardjax.reward_models import ensembles
from rewardjax.training import loop, mesh
from rewardjax.training.checkpoints import Checkpointer
from rewardjax.training.logging import MetricsWriter
from rewardjax.training.state import TrainState, init_state
from rewardjax.training.step import make_train_step


class Member(NamedTuple):
  """All that training changes of one member; what a checkpoint holds.

  best: the parameters that did best on held-out rows, at `best_step`.
  since: looks at the held-out rows without gain.
  """

  train: TrainState
  best: PyTree
  best_loss: Float[Array, ""]
  best_step: Int[Array, ""]
  since: Int[Array, ""]
  key: Key[Array, ""]


def optimizer(config) -> optax.GradientTransformation:
  """Clipping by global norm, then AdamW after a linear warm-up."""
  o = config.optimizer
  rate = o.learning_rate
  if o.warmup_steps:
    rate = optax.linear_schedule(0.0, rate, o.warmup_steps)
  return optax.chain(
      optax.clip_by_global_norm(o.max_grad_norm),
      optax.adamw(rate, b1=o.b1, b2=o.b2, weight_decay=o.weight_decay),
  )


def init(config, model: Model, width: int = 0) -> Member:
  """Members [M] before the first step, each as if it were alone.

  With `config.share="encoder"` all start from the backbone of member 0 and
  differ by their heads and by the order of their data.
  """
  first = config.first_member
  one = lambda key: reward_model_backbones.init(model, key, width)
  share = None
  if config.share == "encoder":
    share = lambda path: path.startswith("backbone")
  init_key, train_key = jax.random.split(jax.random.key(config.seed))
  count = first + config.members
  params = ensembles.init_members(
      init_key, one, num_members=count, share=share
  )
  keys = ensembles.member_keys(train_key, count)
  params, keys = jax.tree.map(lambda x: x[first:], (params, keys))
  train = jax.vmap(lambda p: init_state(p, optimizer(config)))(params)
  # A copy: the state's memory is given away, and no array twice.
  best = jax.tree.map(jnp.copy, params)
  loss = jnp.full(config.members, jnp.inf, jnp.float32)
  zeros = jnp.zeros(config.members, jnp.int32)
  return Member(train, best, loss, zeros, jnp.copy(zeros), keys)


def make_step(config, model: Model, kind: str, frozen: PyTree):
  """The pure `(member, batch) -> (member, metrics)` of one optimiser step."""
  loss_of = reward_model_losses.make(config, kind)

  def loss_fn(params, batch, key):
    del key  # no dropout
    outputs = reward_model_backbones.read(model, params, frozen, batch)
    return loss_of(params, outputs, batch)

  step = make_train_step(
      loss_fn,
      optimizer(config),
      num_microbatches=config.num_microbatches,
      compute_dtype=config.compute_dtype or None,
  )

  def one(member: Member, batch):
    number = jnp.broadcast_to(member.train.step, batch["weight"].shape[:1])
    batch = batch | {"step": number}
    train, metrics = step(member.train, batch, member.key)
    if not config.patience:
      return member._replace(train=train), metrics
    # Stopped: exactly as if alone, whatever the others still do.
    active = member.since < config.patience
    keep = lambda new, old: jnp.where(active, new, old)
    train = jax.tree.map(keep, train, member.train)
    return member._replace(train=train), metrics

  return one


def make_members_step(config, model: Model, kind: str, frozen: PyTree):
  """`(members [M], batch [M, N, ...])`: one optimiser step of all of them."""
  step = make_step(config, model, kind, frozen)
  return mapping.over_members(step, (0, 0), reward_model_losses.MEMBERS)


def make_check(config, model: Model, kind: str, frozen: PyTree):
  """`(member, held_out [C, N, ...]) -> (member, metrics)`: is it better?"""
  loss_of = reward_model_losses.make(config, kind)

  def measure(params, held_out):
    def one(batch):
      outputs = reward_model_backbones.read(model, params, frozen, batch)
      loss, metrics = loss_of(params, outputs, batch)
      return metrics | {"loss": loss}

    means = jax.lax.map(one, held_out)
    return {
        name: Mean(jnp.sum(x.total), jnp.sum(x.weight)).value
        for name, x in means.items()
    }

  def check(member: Member, held_out):
    found = measure(member.train.params, held_out)
    active = jnp.ones((), bool)
    if config.patience:
      active = member.since < config.patience
    loss = found["loss"].astype(member.best_loss.dtype)
    better = active & (loss < member.best_loss)
    keep = lambda new, old: jnp.where(better, new, old)
    waited = jnp.where(active, member.since + 1, member.since)
    member = member._replace(
        best=jax.tree.map(keep, member.train.params, member.best),
        best_loss=keep(loss, member.best_loss),
        best_step=keep(member.train.step, member.best_step),
        since=jnp.where(better, 0, waited),
    )
    metrics = {f"held_out/{name}": x for name, x in found.items()}
    metrics["best_step"] = member.best_step.astype(jnp.float32)
    metrics["since"] = member.since.astype(jnp.float32)
    return member, metrics

  return check


def make_program(config, model: Model, kind: str):
  """`(members, batches [C, M, N, ...], held_out, frozen)`: one chunk.

  Steps, and at their end one look at the held-out rows.
  """

  def program(members, batches, held_out, frozen):
    step = make_members_step(config, model, kind, frozen)
    check = mapping.over_members(
        make_check(config, model, kind, frozen), (0, None)
    )
    members, metrics = loop.make_chunk(step)(members, batches)
    members, found = check(members, held_out)
    return members, metrics | found

  return program


class Trained(NamedTuple):
  """How training ended."""

  params: PyTree  # [M, ...], of the best steps
  history: list[dict[str, Any]]  # rows of metrics
  stopped: bool  # by the flag, before the end
  retraces: int


def make_mesh(config) -> jax.sharding.Mesh:
  """Of `config.mesh`, on the first devices that there are."""
  sizes = config.mesh
  free = -1 in (sizes.data, sizes.fsdp, sizes.tensor)
  count = sizes.data * sizes.fsdp * sizes.tensor
  devices = None if free else jax.devices()[:count]
  return mesh.make_mesh(**sizes, devices=devices)


def num_blocks(config, devices: jax.sharding.Mesh) -> int:
  """Into so many a batch is cut: by devices, and by microbatches."""
  split = devices.shape["data"] * devices.shape["fsdp"]
  return split * config.num_microbatches


def train(
    config,
    model: Model,
    kind: str,
    batches: Batches,
    held_out: dict[str, Any],
    workdir: pathlib.Path,
    *,
    devices: jax.sharding.Mesh,
    keeps: bool,
    stop: Callable[[], bool] = lambda: False,
    progress: bool = True,
) -> Trained:
  """Trains until the steps are over, or every member has waited too long.

  Args:
    config: see `configs/reward_model/base.py`.
    model: static.
    kind: of the rows.
    batches: to train on.
    held_out: batches of `reward_model_batches.cover`.
    workdir: of metrics and checkpoints.
    devices: where parameters and batches lie.
    keeps: False writes no checkpoints.
    stop: read after every chunk.
    progress: shows a bar.
  """
  rules = mesh.shard_rules(model.backbone.head_dim)
  width = batches.shape.width
  start = lambda: init(config, model, width)
  # Large values that an init returns as they are would become constants.
  start = jax.jit(start) if model.backbone.draws else start
  members = mesh.shard_tree(start(), devices, rules)
  frozen = mesh.shard_tree(model.backbone.frozen, devices, rules)
  held_out = mesh.shard_batch(held_out, devices, leading=1)
  program = make_program(config, model, kind)
  program = loop.compile_chunk(program, members, held_out, frozen)
  writer = MetricsWriter(workdir, tensorboard=keeps)
  with contextlib.ExitStack() as stack:
    stack.enter_context(contextlib.closing(writer))
    checkpointer = None
    if keeps:
      folder = workdir / "checkpoints"
      checkpointer = stack.enter_context(Checkpointer(folder, keep=2))
    result = loop.run_loop(
        program,
        members,
        batches,
        num_steps=config.num_steps,
        chunk=config.log_every,
        checkpointer=checkpointer,
        every=config.checkpoint_every,
        writer=writer,
        label=config.slug,
        stop=stop,
        until=functools.partial(_all_stopped, config.patience),
        place=lambda x: mesh.shard_batch(x, devices, leading=2),
        progress=progress,
    )
    history = writer.rows()
  best = jax.device_get(result.state.best)
  return Trained(best, history, result.stopped, result.retraces)


def _all_stopped(patience: int, metrics: dict[str, Any]) -> bool:
  return bool(patience) and min(metrics["since"]) >= patience
