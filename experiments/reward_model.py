r"""Trains a reward model from judgements of people or programs.

    python -m experiments.reward_model \
        --config=configs/reward_model/pairs.py --data=pairs.jsonl

or in Python, three lines:

    data = reward_model.read("pairs.jsonl", kind="pairs")
    trained = reward_model.train(base.get_config(), data)
    scores = trained.score(prompts, completions)

What rows hold: `experiments/reward_model_rows.py`. All fields of a config:
`configs/reward_model/base.py`. Without --data the command makes judgements of
a gold reward that it knows. It trains on some prompts, stops by others, and
reports what it finds on the rest: report.html, measures.json, metrics.jsonl
and the model in the run directory, which `load` and
`experiments.evaluate_rewards --scorer=<run directory>` read. A run that was
killed goes on where it was, and ends with the same bits.
"""

import contextlib
import pathlib
import sys
import tempfile
from collections.abc import Callable

import ml_collections as mlc
import numpy as np
from absl import app, flags, logging
from ml_collections import config_flags

from experiments import (
    commands,
    reward_model_backbones,
    reward_model_data,
    reward_model_rates,
    reward_model_report,
    reward_model_sample,
    reward_model_stages,
    reward_model_targets,
)
from experiments.reward_model_backbones import Backbone, custom
from experiments.reward_model_config import check
from experiments.reward_model_data import Data, from_arrays, from_rows, read
from experiments.reward_model_reader import About
from experiments.reward_model_scoring import RewardModel, load
from experiments.reward_model_stages import Job
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


def train(
    config: mlc.ConfigDict,
    data: Data,
    *,
    held_out: Data | None = None,
    test: Data | None = None,
    trusted: Data | None = None,
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
    trusted: comparisons whose labels are right; where the data hold the same
      pair its row gets the field `gold`.
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
  reward_model_targets.check_differences(config, data)
  if trusted is not None:
    data = reward_model_rates.with_gold(data, trusted)
  parts = _parts(config, data, held_out, test)
  users = tuple(data.names("user")) if config.prototypes else ()
  if config.prototypes and not users:
    raise ValueError("config.prototypes needs rows with the field 'user'.")
  about = About(data.kind, users, data.width)
  backbone = backbone or reward_model_backbones.make(config, data.width)
  with contextlib.ExitStack() as stack:
    keeps = workdir is not None
    if not keeps:
      workdir = stack.enter_context(tempfile.TemporaryDirectory())
    job = Job(backbone, about, pathlib.Path(workdir), keeps, stop, progress)
    return reward_model_stages.run(config, parts, job)


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


def run(
    config: mlc.ConfigDict,
    workdir: str | pathlib.Path,
    *,
    data: Data | None = None,
    trusted: Data | None = None,
    stop: Callable[[], bool] = lambda: False,
    show: bool = True,
) -> RewardModel | None:
  """Trains and writes the report; see `train` for what it raises.

  Args:
    config: see `configs/reward_model/base.py`.
    workdir: of everything.
    data: None makes the rows of `config.sample`.
    trusted: see `train`.
    stop: read after every chunk of steps.
    show: bars and tables.
  """
  workdir = pathlib.Path(workdir)
  if data is None:
    data = reward_model_sample.make(config.kind, config.sample, config.seed)
  trained = train(
      config, data, trusted=trusted, workdir=workdir, stop=stop, progress=show
  )
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
      "A .jsonl or .parquet file of rows of the config's kind, or tfds:name; "
      "of steps also multi_rm: and files of Multi-RM, with commas between. "
      "Fields: pairs (prompt, chosen, rejected), ties (those and label), "
      "ratings (prompt, completion, rating), rankings (prompt, completions, "
      "ranks), steps (prompt, steps, labels); see docs/reward_models.md. "
      "Without it: judgements of a gold reward that the command knows.",
  )
  flags.DEFINE_string(
      "trusted",
      None,
      "Rows as those of --data whose labels are right, of some of its pairs: "
      "config.noise.estimate='gold' learns from them how often labels err.",
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
    data, trusted = (
        read(path, kind=config.kind) if path else None
        for path in (given.data, given.trusted)
    )
    with StopFlag() as stop:
      trained = run(config, workdir, data=data, trusted=trusted, stop=stop)
    if trained is not None and given.write_figure:
      reward_model_report.keep_reliability(workdir, config.slug)
  except (ValueError, OSError, NotSavedError) as error:
    sys.exit(f"error: {error}")


if __name__ == "__main__":
  define_flags()
  app.run(main, flags_parser=commands.parse_flags)
