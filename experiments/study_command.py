"""The command of a table of studies: flags, one run, its files."""

import pathlib
from collections.abc import Callable, Mapping

import ml_collections as mlc
from absl import flags
from ml_collections import config_flags

from experiments import results, studies
from experiments.choices import choose


def run(
    table: Mapping[str, Callable[..., studies.Study]],
    name: str,
    config: mlc.ConfigDict,
    workdir: pathlib.Path,
    results_dir: pathlib.Path | None = None,
) -> studies.Study:
  """Runs one study and writes its files.

  Args:
    table: the studies there are.
    name: of the experiment; its configs are in `configs/<name>`.
    config: `study` names it, `slug` its result, `options` are its arguments.
    workdir: the run directory.
    results_dir: where the result is kept; None keeps none.

  Raises:
    ValueError: if a field holds none of its choices.
  """
  function = choose("study", table, config.study)
  config = config.to_dict()
  study = function(**config["options"])
  command = (
      f"python -m experiments.{name} --config=configs/{name}/"
      f"{config['study']}.py --write_results"
  )
  studies.publish(
      study, config, workdir, command=command, results_dir=results_dir
  )
  return study


def define_flags(name: str) -> None:
  """Only for a command: other commands define the same names."""
  config_flags.DEFINE_config_file("config", lock_config=True)
  flags.DEFINE_string(
      "workdir", None, f"Run directory; default runs/{name}/<study>."
  )
  flags.DEFINE_bool("write_results", False, "Keep the result in docs/results.")
  flags.mark_flag_as_required("config")


def main(table: Mapping[str, Callable[..., studies.Study]], name: str) -> None:
  """What `app.run` calls once the flags are read."""
  given = flags.FLAGS
  workdir = given.workdir or f"runs/{name}/{given.config.study}"
  kept = results.RESULTS if given.write_results else None
  run(table, name, given.config, pathlib.Path(workdir), kept)
