r"""Trains a reward model from judgements of people or programs.

    python -m experiments.reward_model \
        --config=configs/reward_model/pairs.py --data=pairs.jsonl

or in Python, three lines:

    data = reward_model.read("pairs.jsonl", kind="pairs")
    trained = reward_model.train(base.get_config(), data)
    scores = trained.score(prompts, completions)

What rows hold: `experiments/reward_model_data.py`. All fields of a config:
`configs/reward_model/base.py`. Without --data the command makes judgements of
a gold reward that it knows. It trains on some prompts, stops by others, and
reports what it finds on the rest: report.html, measures.json, metrics.jsonl
and the model in the run directory, which `load` and
`experiments.evaluate_rewards --scorer=<run directory>` read. A run that was
killed goes on where it was, and ends with the same bits.
"""

import dataclasses
import pathlib
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections as mlc
import numpy as np
from absl import app, flags, logging
from ml_collections import config_flags

from experiments import (
    commands,
    reward_model_backbones,
    reward_model_batches,
    reward_model_data,
    reward_model_lanes,
    reward_model_loop,
    reward_model_losses,
    reward_model_measures,
    reward_model_report,
    reward_model_sample,
    reward_model_scoring,
    rlvr_config,
)
from experiments.reward_model_backbones import Backbone, custom
from experiments.reward_model_data import Data, from_arrays, from_rows, read
from experiments.reward_model_scoring import About, RewardModel, load
from rewardjax.core import checks
from rewardjax.reward_models import ensembles
from rewardjax.training.checkpoints import NotSavedError
from rewardjax.training.preemption import StopFlag

__all__ = [
    "Backbone",
    "Data",
    "RewardModel",
    "check",
    "custom",
    "from_arrays",
    "from_rows",
    "load",
    "read",
    "train",
]


def check(config: mlc.ConfigDict, kind: str) -> None:
  """Raises ValueError, naming the field, unless the config makes sense."""
  where = "config"
  checks.one_of(where, reward_model_data.KINDS, kind=kind)
  reward_model_losses.check_config(config, kind)
  checks.at_least(
      where,
      1,
      members=config.members,
      num_steps=config.num_steps,
      log_every=config.log_every,
      score_batch=config.score_batch,
      num_microbatches=config.num_microbatches,
  )
  checks.at_least(
      where, 0, patience=config.patience, first_member=config.first_member
  )
  for name, unit in (("num_steps", 1), ("checkpoint_every", 1)):
    if config[name] < unit or config[name] % config.log_every:
      raise ValueError(
          f"config.{name} must be a positive multiple of log_every="
          f"{config.log_every}, got {config[name]}."
      )
  checks.one_of(where, ("none", "encoder"), share=config.share)
  aggregates = reward_model_scoring.AGGREGATES
  checks.one_of("config.aggregate", aggregates, name=config.aggregate.name)
  for name in ("held_out", "test"):
    checks.within(where, 0.0, 1.0, high_open=True, **{name: config[name]})
  if not config.held_out:
    raise ValueError("config.held_out must be above 0: it ends the training.")


def train(
    config: mlc.ConfigDict,
    data: Data,
    *,
    held_out: Data | None = None,
    test: Data | None = None,
    backbone: Backbone | None = None,
    workdir: str | pathlib.Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: bool = True,
) -> RewardModel | None:
  """Trains, calibrates and measures.

  Args:
    config: see `configs/reward_model/base.py`.
    data: rows; prompts are drawn from them to stop by and to test on, where
      `held_out` and `test` are not given.
    held_out: rows to stop by and to calibrate on.
    test: rows to measure on.
    backbone: your own network, instead of `config.model`; see `custom`.
    workdir: where metrics, checkpoints and the model are written; a run found
      there goes on. None keeps nothing.
    stop: read after every chunk of steps.
    progress: shows a bar.

  Returns:
    The model; None if it was stopped before the end.

  Raises:
    ValueError: naming a field of the config, or a row and its field.
  """
  check(config, data.kind)
  reward_model_losses.check_differences(config, data)
  parts = _parts(config, data, held_out, test)
  users = tuple(data.names("user")) if config.prototypes else ()
  if config.prototypes and not users:
    raise ValueError("config.prototypes needs rows with the field 'user'.")
  about = About(data.kind, users, data.width)
  backbone = backbone or reward_model_backbones.make(config, data.width)
  if workdir is not None:
    return _train(config, parts, backbone, about, workdir, True, stop, progress)
  with tempfile.TemporaryDirectory() as folder:
    return _train(config, parts, backbone, about, folder, False, stop, progress)


def _parts(config, data: Data, held_out, test) -> list[Data]:
  """Rows to train on, to stop by, and to test on."""
  shares = [
      share if given is None else 0.0
      for share, given in ((config.held_out, held_out), (config.test, test))
  ]
  rest, *drawn = reward_model_data.split(data, *shares, seed=config.seed)
  parts = [rest, *(g or d for g, d in zip((held_out, test), drawn))]
  if {part.kind for part in parts} != {data.kind}:
    raise ValueError("train: held_out and test must be of the kind of data.")
  return parts


def _train(config, parts, backbone, about, workdir, keeps, stop, progress):
  workdir = pathlib.Path(workdir)
  coder = reward_model_scoring.make_coder(config, backbone)
  numbers = {name: i for i, name in enumerate(about.users)}
  train_rows, held_rows = (
      [
          reward_model_batches.encode(coder, data.kind, row, found)
          for row, found in zip(
              data.rows, reward_model_losses.targets(config, data, numbers)
          )
      ]
      for data in parts[:2]
  )
  if backbone.shares and config.share_prompts:
    train_rows, held_rows = (
        [reward_model_lanes.share(row) for row in rows]
        for rows in (train_rows, held_rows)
    )
  devices = reward_model_loop.make_mesh(config)
  blocks = reward_model_loop.num_blocks(config, devices)
  packs = backbone.packs and config.packing
  first = config.first_member
  batches = reward_model_batches.Batches(
      train_rows,
      batch_size=config.batch_size,
      num_blocks=blocks,
      num_steps=config.num_steps,
      seed=config.seed,
      members=range(first, first + config.members),
      packs=packs,
  )
  cover = reward_model_batches.cover(
      held_rows, batch_size=config.batch_size, num_blocks=blocks, packs=packs
  )
  if keeps:
    _claim(config, parts, workdir)
  model = reward_model_scoring.make_model(config, backbone, about)
  found = reward_model_loop.train(
      config,
      model,
      about.kind,
      batches,
      cover,
      workdir,
      devices=devices,
      keeps=keeps,
      stop=stop,
      progress=progress,
  )
  if found.stopped:
    return None
  params = jax.tree.map(jnp.asarray, found.params)
  trained = RewardModel(config, backbone, params, about, found.history)
  trained = calibrate(trained, parts[1])
  if parts[2].rows:
    measures = reward_model_measures.measure(trained, parts[2])
    trained = _replace(trained, measures=measures)
  if keeps:
    trained.save(workdir / "model")
  return trained


def _claim(config, parts, workdir: pathlib.Path) -> None:
  """Writes config.json, or checks that the run found there is this one."""
  digests = [reward_model_batches.digest(part) for part in parts]
  mine = mlc.ConfigDict(config.to_dict() | {"data": digests})
  rlvr_config.claim_workdir(mine, workdir)


def _replace(model: RewardModel, **changes: Any) -> RewardModel:
  return dataclasses.replace(model, **changes)


def calibrate(model: RewardModel, held_out: Data) -> RewardModel:
  """One scale for the members, and a temperature, from held-out rows."""
  pairwise = held_out.kind in (*reward_model_losses.COMPARISONS, "rankings")
  if not pairwise:
    return model
  about = model.about
  if model.num_members > 1:
    items = [(r.prompt, x) for r in held_out.rows for x in r.items]
    found = model.members(*map(list, zip(*items)))
    scale = jax.jit(ensembles.fit_scale)(jnp.asarray(found))
    tuples = [tuple(map(float, x)) for x in (scale.mean, scale.std)]
    about = about._replace(offsets=tuples[0], scales=tuples[1])
    model = _replace(model, about=about)
  if held_out.kind in reward_model_losses.COMPARISONS:
    t = reward_model_measures.fit_temperature(model, held_out)
    model = _replace(model, about=about._replace(temperature=t))
  return model


def run(
    config: mlc.ConfigDict,
    workdir: str | pathlib.Path,
    *,
    data: Data | None = None,
    stop: Callable[[], bool] = lambda: False,
    show: bool = True,
) -> RewardModel | None:
  """Trains and writes the report; see `train` for what it raises.

  Args:
    config: see `configs/reward_model/base.py`.
    workdir: of everything.
    data: None makes the rows of `config.sample`.
    stop: read after every chunk of steps.
    show: bars and tables.
  """
  workdir = pathlib.Path(workdir)
  if data is None:
    data = reward_model_sample.make(config.kind, config.sample, config.seed)
  trained = train(config, data, workdir=workdir, stop=stop, progress=show)
  if trained is not None:
    reward_model_report.publish(config, trained, workdir, show=show)
  return trained


def define_flags() -> None:
  """Only for the command."""
  config_flags.DEFINE_config_file(
      "config",
      "configs/reward_model/pairs.py",
      "What to train; any field can be changed: --config.num_steps=500. The "
      "fields, with their meaning, are in configs/reward_model/base.py; other "
      "files there are examples, one for each kind of rows.",
      lock_config=True,
  )
  flags.DEFINE_string(
      "data",
      None,
      "A .jsonl or .parquet file of rows of the config's kind, or tfds:name. "
      "Fields: pairs (prompt, chosen, rejected), ties (those and label), "
      "ratings (prompt, completion, rating), rankings (prompt, completions, "
      "ranks), steps (prompt, steps, labels); see docs/reward_models.md. "
      "Without it: judgements of a gold reward that the command knows.",
  )
  flags.DEFINE_string(
      "workdir", None, "Where the run is written; runs/<slug> if absent."
  )
  flags.DEFINE_bool(
      "write_figure",
      False,
      "Keep the reliability figure as docs/figures/<slug>_reliability.png.",
  )


def main(argv):
  if len(argv) > 1:
    sys.exit(f"error: unexpected argument {argv[1]!r}; flags begin with --.")
  logging.set_verbosity(logging.ERROR)  # Orbax tells of every file
  config, given = flags.FLAGS.config, flags.FLAGS
  workdir = given.workdir or f"runs/{config.slug}"
  sizes = list(config.mesh.values())
  commands.use_cpu_devices(abs(int(np.prod(sizes))))
  try:
    data = read(given.data, kind=config.kind) if given.data else None
    with StopFlag() as stop:
      trained = run(config, workdir, data=data, stop=stop)
    if trained is not None and given.write_figure:
      reward_model_report.keep_reliability(workdir, config.slug)
  except (ValueError, OSError, NotSavedError) as error:
    sys.exit(f"error: {error}")


if __name__ == "__main__":
  define_flags()
  app.run(main, flags_parser=commands.parse_flags)
