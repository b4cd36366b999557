"""The stages of a training: labels, members, one scale, measures.

What each of them leaves in the run directory is read by a run that goes on.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections as mlc
import numpy as np

from experiments import (
    reward_model_batches,
    reward_model_lanes,
    reward_model_loop,
    reward_model_losses,
    reward_model_measures,
    reward_model_noise,
    reward_model_reader,
    reward_model_relabel,
    reward_model_targets,
    rlvr_config,
)
from experiments.reward_model_backbones import Backbone
from experiments.reward_model_batches import Encoded
from experiments.reward_model_data import Data
from experiments.reward_model_reader import About
from experiments.reward_model_scoring import RewardModel
from rewardjax.reward_models import ensembles


class Job(NamedTuple):
  """What the stages share; `keeps` is False where nothing is to be left."""

  backbone: Backbone
  about: About
  workdir: pathlib.Path
  keeps: bool
  stop: Callable[[], bool]
  progress: bool


def run(config, parts: list[Data], job: Job) -> RewardModel | None:
  """Everything; None if it was stopped before the end.

  Args:
    config: checked.
    parts: rows to train on, to stop by, and to test on.
    job: the rest.
  """
  first = [row for part in parts[:2] for row in part.rows]
  settled = reward_model_noise.settle(config, first)
  train_rows, held_rows = (
      _encoded(settled, data, job) for data in parts[:2]
  )
  if job.keeps:
    _claim(config, parts, job.workdir)
  config, notes = settled.config, settled.notes
  if config.noise.name == "relabel":
    mended = _relabel(config, parts[0], train_rows, held_rows, job)
    if mended is None:
      return None
    notes = reward_model_relabel.notes(parts[0], mended)
    train_rows = [_mended(row, x) for row, x in zip(train_rows, mended)]
  if notes:
    job = job._replace(about=job.about._replace(notes=notes))
  trained = _fit(config, train_rows, held_rows, job)
  if trained is None:
    return None
  trained = calibrate(trained, parts[1])
  if parts[2].rows:
    measures = reward_model_measures.measure(trained, parts[2])
    trained = dataclasses.replace(trained, measures=measures)
  if job.keeps:
    trained.save(job.workdir / "model")
  return trained


def _encoded(settled, data: Data, job: Job) -> list[Encoded]:
  config = settled.config
  coder = reward_model_reader.make_coder(config, job.backbone)
  numbers = {name: i for i, name in enumerate(job.about.users)}
  found = reward_model_targets.targets(config, data, numbers, settled.table)
  rows = [
      reward_model_batches.encode(coder, data.kind, *x)
      for x in zip(data.rows, found)
  ]
  if job.backbone.shares and config.share_prompts:
    return [reward_model_lanes.share(row) for row in rows]
  return rows


def _relabel(config, data: Data, train_rows, held_rows, job: Job):
  """What the judges make of each row to train on; None if stopped."""
  path = job.workdir / "judged.jsonl"
  if not path.exists():
    judges = _fit(
        reward_model_relabel.judges(config),
        train_rows,
        held_rows,
        job._replace(workdir=job.workdir / "judges"),
    )
    if judges is None:
      return None
    found = reward_model_relabel.margins(judges, data)
    reward_model_relabel.write(path, data, found)
  return reward_model_relabel.mend(config, reward_model_relabel.read(path))


def _mended(row: Encoded, treated: dict[str, Any]) -> Encoded:
  weight = row.targets["weight"] * treated["weight"]
  return row._replace(targets=row.targets | treated | {"weight": weight})


def _fit(config, train_rows, held_rows, job: Job) -> RewardModel | None:
  """Members, trained side by side."""
  devices = reward_model_loop.make_mesh(config)
  blocks = reward_model_loop.num_blocks(config, devices)
  packs = job.backbone.packs and config.packing
  batches = reward_model_batches.Batches(
      train_rows,
      batch_size=config.batch_size,
      num_blocks=blocks,
      num_steps=config.num_steps,
      seed=config.seed,
      members=_orders(config),
      packs=packs,
  )
  cover = reward_model_batches.cover(
      held_rows, batch_size=config.batch_size, num_blocks=blocks, packs=packs
  )
  about = job.about
  model = reward_model_reader.make_model(config, job.backbone, about)
  found = reward_model_loop.train(
      config,
      model,
      about.kind,
      batches,
      cover,
      job.workdir,
      devices=devices,
      keeps=job.keeps,
      stop=job.stop,
      progress=job.progress,
  )
  if found.stopped:
    return None
  params = jax.tree.map(jnp.asarray, found.params)
  return RewardModel(config, job.backbone, params, about, found.history)


def _orders(config) -> list[int]:
  """Whose order of the data each member takes; peers see the same rows."""
  first = config.first_member
  members = np.arange(first, first + config.members)
  if config.noise.name == "co_teaching":
    members -= members % 2
  return members.tolist()


def _claim(config, parts, workdir: pathlib.Path) -> None:
  """Writes config.json, or checks that the run found there is this one."""
  digests = [reward_model_batches.digest(part) for part in parts]
  mine = mlc.ConfigDict(config.to_dict() | {"data": digests})
  rlvr_config.claim_workdir(mine, workdir)


def calibrate(model: RewardModel, held_out: Data) -> RewardModel:
  """One scale for the members, and a temperature, from held-out rows."""
  compared = held_out.kind in reward_model_losses.COMPARISONS
  if not compared and held_out.kind != "rankings":
    return model
  about = model.about
  if model.num_members > 1:
    items = [(r.prompt, x) for r in held_out.rows for x in r.items]
    found = model.members(*map(list, zip(*items)))
    scale = jax.jit(ensembles.fit_scale)(jnp.asarray(found))
    tuples = [tuple(map(float, x)) for x in (scale.mean, scale.std)]
    about = about._replace(offsets=tuples[0], scales=tuples[1])
    model = dataclasses.replace(model, about=about)
  if compared:
    t = reward_model_measures.fit_temperature(model, held_out)
    about = about._replace(temperature=t)
  return dataclasses.replace(model, about=about)
