"""All objectives of the library on one task, with and without noise.

One run of `experiments.rlvr` whose arms are every recipe under a verifier
that is right and under one that lies; killed and started again with the same
flags, it goes on where it was. At the end: a table here, and `report.html`
with figures in the run directory. With --write_results also
docs/results/<slug>.json, docs/figures/tournament_*.png, docs/tournament.md.
"""

import ml_collections as mlc
from absl import app, flags, logging

from experiments import commands, rlvr, rlvr_recipes, tournament_report
from experiments.choices import choose
from rewardjax.core import checks
from rewardjax.training import distributed

VERIFIERS = ("clean", "noisy")


def arm_name(recipe: str, verifier: str) -> str:
  return f"{recipe}_{verifier}"


def expand(config: mlc.ConfigDict) -> mlc.ConfigDict:
  """The config of `experiments.rlvr` that runs this tournament.

  Raises:
    ValueError: naming the field that is wrong.
  """
  o = config.tournament
  for name in (*o.recipes, o.baseline):
    choose("tournament.recipes", rlvr_recipes.RECIPES, name)
  if o.baseline not in o.recipes:
    raise ValueError(
        "config.tournament.baseline must be one of config.tournament.recipes "
        f"{tuple(o.recipes)}, got {o.baseline!r}."
    )
  if len(set(o.recipes)) < len(o.recipes):
    raise ValueError("config.tournament.recipes must differ.")
  checks.at_least("config", 1, **{"tournament.scale": o.scale})
  checks.at_least("config", 1, **{"tournament.num_resamples": o.num_resamples})
  checks.probability("config", **{"tournament.threshold": o.threshold})
  expanded = mlc.ConfigDict(config.to_dict())
  expanded.num_seeds *= o.scale
  expanded.num_steps *= o.scale
  expanded.arms = {
      arm_name(recipe, verifier): _arm(recipe, verifier, config)
      for recipe in o.recipes
      for verifier in VERIFIERS
  }
  return expanded


def _arm(recipe: str, verifier: str, config) -> dict:
  arm = dict(recipe=dict(name=recipe))
  if verifier == "clean":
    arm["noise"] = dict(name="none")
  if not rlvr_recipes.RECIPES[recipe].has_ratio:
    arm["updates_per_batch"] = 1
  return arm


def run(config: mlc.ConfigDict, workdir: str, **options):
  """`rlvr.run` of `expand(config)`, with the report of a tournament.

  Args:
    config: see `configs/tournament/rlvr.py`.
    workdir: of the run; one found there is resumed.
    **options: of `rlvr.run`.

  Returns:
    A `tournament_statistics.Summary`; None if stopped before the end.
  """
  return rlvr.run(expand(config), workdir, write=_write, **options)


def _write(config, workdir, arms, *, show):
  del arms  # by recipe and verifier instead
  names = {
      (recipe, verifier): arm_name(recipe, verifier)
      for recipe in config.tournament.recipes
      for verifier in VERIFIERS
  }
  return tournament_report.write(config, workdir, names, show=show)


def main(argv):
  del argv
  logging.set_verbosity(logging.ERROR)  # tfds and Orbax tell of every file
  distributed.initialize()
  try:
    config = expand(flags.FLAGS.config)
  except ValueError as error:
    raise SystemExit(f"error: {error}") from None
  summary = rlvr.run_command(config, _write)
  if summary is not None and flags.FLAGS.write_results:
    tournament_report.write_results(config, summary)


if __name__ == "__main__":
  commands.keep_freed_memory()
  rlvr.define_flags("configs/tournament/rlvr.py")
  flags.adopt_module_key_flags(rlvr)  # or --help hides them
  app.run(main, flags_parser=commands.parse_flags)
