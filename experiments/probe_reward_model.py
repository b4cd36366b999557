r"""What do the features of a reward model hold? Linear probes, as in MRMBench.

    python -m experiments.probe_reward_model --features=runs/reward_model \
        --data=MRMBench/data

The features are those of a run directory of `experiments.reward_model`, or of
package.module:function, called as function(texts) with a list of texts and
giving one row of numbers for each, such as the last layer at the last real
token. Nothing of the model is trained: a linear classifier without a bias is
fitted to the features of train.json of each dimension and reads test.json.
Writes tables.json and report.html to the run directory. Without --data: rows
that a program made, which only try the command out.
"""

import json
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from experiments import commands, evaluate_report, reward_model_scoring
from rewardjax.core import checks
from rewardjax.data.benchmarks import probes, reading
from rewardjax.diagnostics import out_of_distribution, probing
from rewardjax.diagnostics.benchmarks import arrays
from rewardjax.training import report
from rewardjax.training.logging import write_atomically
from rewardjax.training.report import Section

Features = Callable[[list[str]], Any]  # texts -> [N, H]


class Encoder(NamedTuple):
  """What is probed.

  features: of texts.
  count_tokens: of a text; None where nobody knows, and no text is too long.
  """

  features: Features
  count_tokens: Callable[[str], int] | None = None


def load(path: str) -> Encoder:
  """The model in a directory, or the function `package.module:function`.

  Raises:
    ValueError: if there is none.
  """
  if pathlib.Path(path).is_dir():
    model = reward_model_scoring.load(path)
    if model.about.width:
      raise ValueError(f"{path}: this model reads vectors, not texts.")
    encode = model.backbone.tokenizer.encode
    return Encoder(model.features, lambda text: len(encode(text)))
  expected = (
      "--features must be a run directory of experiments.reward_model or "
      "package.module:function"
  )
  return Encoder(commands.function_at(path, expected))


def _encoded(features: Features, texts: Sequence[str], batch_size: int):
  """[N, H] of all texts, from calls of `batch_size`."""
  found = []
  for i in range(0, len(texts), batch_size):
    some = list(texts[i : i + batch_size])
    try:
      rows = np.asarray(features(some), np.float32)
    except (TypeError, ValueError) as error:
      raise ValueError(f"--features: {error!s:.200}") from error
    if rows.ndim != 2 or len(rows) != len(some) or not np.isfinite(rows).all():
      raise ValueError(
          f"--features must give finite numbers [{len(some)}, H] for "
          f"{len(some)} texts, got shape {rows.shape}."
      )
    found.append(rows)
  if len({x.shape[1] for x in found}) > 1:
    raise ValueError("--features gave rows of different lengths.")
  return jnp.asarray(np.concatenate(found))


def _read(path, encoder: Encoder, batch_size: int, max_tokens: int):
  """Features and labels of a file."""
  count = encoder.count_tokens
  rows = list(
      probes.mrmbench(path, count_tokens=count, max_tokens=max_tokens)
  )
  if not rows:
    raise ValueError(f"{path}: no row of at most {max_tokens} tokens.")
  features = _encoded(encoder.features, [x.text for x in rows], batch_size)
  return features, jnp.array([x.label for x in rows])


_fit = jax.jit(probing.linear_probe, static_argnames="num_classes")


def _probed(train, test, nearest: float) -> dict[str, float]:
  """One dimension: features and labels to fit, and to read."""
  labels = np.concatenate([train[1], test[1]])
  num_classes = max(2, int(labels.max()) + 1)
  found = probing.probe_score(_fit(*train, num_classes=num_classes), *test)
  return {
      "accuracy": float(found.accuracy),
      "balanced": float(found.balanced),
      "majority": float(np.bincount(test[1]).max() / len(test[1])),
      "nearest": nearest,
      "train": len(train[1]),
      "test": len(test[1]),
  }


def _nearest(parts) -> dict[str, float]:
  """Of each dimension, the share of its texts whose centroid is the nearest."""
  train, test = (
      [part[name][0] for part in parts.values()] for name in ("train", "test")
  )
  numbers = np.repeat(np.arange(len(train)), list(map(len, train)))
  centroids = probing.class_centroids(
      jnp.concatenate(train), jnp.asarray(numbers), num_groups=len(train)
  )
  nearest = [
      jnp.argmin(out_of_distribution.centroid_distance(x, centroids), axis=-1)
      for x in test
  ]
  return {
      name: float(np.mean(np.asarray(x) == i))
      for i, (name, x) in enumerate(zip(parts, nearest))
  }


def probe(
    encoder: Encoder,
    folder: str | pathlib.Path,
    *,
    batch_size: int = 32,
    max_tokens: int = 512,
) -> arrays.Tables:
  """Accuracy on every dimension of every level, and the means over them.

  Args:
    encoder: is not changed.
    folder: of MRMBench, see `probes.mrmbench_files`.
    batch_size: texts in a call.
    max_tokens: longer texts are left out, where tokens can be counted.

  Returns:
    A table for each level: of each dimension the accuracy, the mean over
    classes ("balanced"), that of always naming the most frequent class
    ("majority"), and the share of its texts that are nearer to its own
    centroid than to those of the others ("nearest"); and the numbers of rows.

  Raises:
    ValueError: naming file, row and field; for features that are none.
  """
  checks.at_least("probe", 1, batch_size=batch_size, max_tokens=max_tokens)
  tables: arrays.Tables = {"overall": {}}
  for level, dimensions in probes.mrmbench_files(folder).items():
    parts = {
        name: {
            part: _read(path, encoder, batch_size, max_tokens)
            for part, path in paths.items()
        }
        for name, paths in dimensions.items()
    }
    nearest = _nearest(parts)
    table = {
        name: _probed(found["train"], found["test"], nearest[name])
        for name, found in parts.items()
    }
    columns = ("accuracy", "balanced", "majority", "nearest")
    tables["overall"][level] = {
        x: float(np.mean([row[x] for row in table.values()])) for x in columns
    }
    tables[level] = table
  return tables


def run(
    features: str,
    workdir: str | pathlib.Path,
    *,
    data: str | None = None,
    show: bool = True,
    **options: int,
) -> arrays.Tables:
  """Probes features by their name, and writes everything; see `probe`."""
  workdir = pathlib.Path(workdir)
  folder = data or reading.samples() / "mrmbench"
  tables = probe(load(features), folder, **options)
  what = f"Features of {features} on {data or 'rows that a program made'}."
  if not data:
    what += " These say nothing about a model that reads well."
  workdir.mkdir(parents=True, exist_ok=True)
  write_atomically(
      workdir / "tables.json", json.dumps(tables, indent=2) + "\n"
  )
  sections = [
      Section(
          name.capitalize(),
          what if name == "overall" else "",
          evaluate_report.as_table(name, rows),
      )
      for name, rows in tables.items()
  ]
  path = report.write_report(
      workdir / "report.html", "Probes of a reward model", sections
  )
  if show:
    for section in sections[::-1]:
      report.print_table(section.table)
    print(f"{what}\nReport: {path}")
  return tables


def define_flags() -> None:
  """Only for the command."""
  flags.DEFINE_string(
      "features",
      None,
      "A run directory of experiments.reward_model, or "
      "package.module:function, called as function(texts) and giving a row of "
      "numbers for each.",
      required=True,
  )
  flags.DEFINE_string(
      "data",
      None,
      "A folder with mrm_easy or mrm_hard in it, and in those a folder for "
      "each dimension with train.json and test.json: lists of input, output, "
      "label.",
  )
  flags.DEFINE_integer("batch_size", 32, "Texts in a call.")
  flags.DEFINE_integer(
      "max_tokens", 512, "Longer texts are left out; of a run directory only."
  )
  flags.DEFINE_string("workdir", "runs/probe_reward_model", "For everything.")


def main(argv):
  if len(argv) > 1:
    sys.exit(f"error: unexpected argument {argv[1]!r}; flags begin with --.")
  logging.set_verbosity(logging.ERROR)  # jax tells of backends it lacks
  given = flags.FLAGS
  options = dict(batch_size=given.batch_size, max_tokens=given.max_tokens)
  try:
    run(given.features, given.workdir, data=given.data, **options)
  except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")


if __name__ == "__main__":
  define_flags()
  app.run(main)
