r"""What does a reward model look at? An audit on labelled pairs.

    python -m experiments.audit_reward_model --scorer=runs/reward_model_pairs \
        --data=pairs.jsonl

The scorer is a run directory of `experiments.reward_model`, or
package.module:function, called as function(prompts, completions, meta=...).
Probes, each with a 95% interval: does it prefer length beyond what people do;
do style, a prefix or padding move its scores and its decisions; does it read
the prompt; does a score hang on what else is in the batch. Writes audit.json
and report.html to the run directory, and prints what is suspicious. Without
--data: pairs of a gold reward that the command knows.
"""

import json
import pathlib
import sys

from absl import app, flags, logging

from experiments import (
    audit_reward_model_probes,
    evaluate_rewards,
    reward_model_data,
    reward_model_sample,
)
from experiments.audit_reward_model_probes import Audit
from experiments.reward_model_data import Data
from rewardjax.core import checks
from rewardjax.training import report
from rewardjax.training.logging import jsonable, write_atomically
from rewardjax.training.report import Section, Table

_BATCH = "Batch"
_TOLERANCE = 1e-3  # standard deviations: above it, no rounding


def audit(
    scorer, data: Data, *, batch_size: int = 16, seed: int = 0
) -> Audit:
  """Every probe of `audit_reward_model_probes`, the batch among them.

  Args:
    scorer: called as `evaluate_rewards` calls one; `RewardModel.score` is.
    data: labelled pairs of texts.
    batch_size: texts per call.
    seed: of the bootstrap.

  Raises:
    ValueError: for rows that are no pairs of texts, and scores that are none.
  """
  checks.at_least("audit", 2, batch_size=batch_size)
  score = audit_reward_model_probes.batching(scorer, batch_size)
  found = audit_reward_model_probes.audit(score, data, seed=seed)
  effects = audit_reward_model_probes.batch_effects(scorer, data, batch_size)
  warnings = list(found.warnings)
  for name, effect in effects.items():
    if effect.value > _TOLERANCE:
      warnings.append(
          f"A score changes by up to {effect.value:.3g} sd {name}: repair the "
          "scorer, or score one text at a time."
      )
  tables = found.tables | {_BATCH: {"largest change, in sd": effects}}
  return Audit(tables, warnings)


def as_table(rows) -> Table:
  """One table; every row has its own measures."""
  cells = [
      [name, measure, str(x)]
      for name, found in rows.items()
      for measure, x in found.items()
  ]
  return Table(["probe", "measure", "found"], cells)


def publish(found: Audit, what: str, workdir: pathlib.Path, *, show: bool):
  """Writes audit.json and report.html; prints the tables and warnings."""
  tables = {
      title: {
          name: {k: x._asdict() for k, x in row.items()}
          for name, row in rows.items()
      }
      for title, rows in found.tables.items()
  }
  text = json.dumps(
      jsonable({"tables": tables, "warnings": found.warnings}), indent=2
  )
  write_atomically(workdir / "audit.json", text + "\n")
  warnings = "\n\n".join(found.warnings) or "Nothing suspicious."
  sections = [Section("Summary", f"{what}\n\n{warnings}")]
  sections += [
      Section(title, "", as_table(rows)) for title, rows in found.tables.items()
  ]
  path = report.write_report(
      workdir / "report.html", "Audit of a reward model", sections
  )
  if show:
    for rows in found.tables.values():
      report.print_table(as_table(rows))
    print(f"{what}\n{warnings}\nReport: {path}")


def run(
    scorer: str,
    workdir: str | pathlib.Path,
    *,
    data: str | None = None,
    batch_size: int = 16,
    limit: int = 1000,
    seed: int = 0,
    show: bool = True,
) -> Audit:
  """Audits a scorer by its name, and writes everything; see `audit`."""
  if data:
    rows = reward_model_data.read(data, kind="pairs")
  else:
    from configs.reward_model import base

    options = base.get_config().sample
    options.num_prompts = 100
    rows = reward_model_sample.make("pairs", options, seed)
  rows = Data(rows.kind, rows.rows[:limit])
  loaded = evaluate_rewards.load_scorer(scorer)
  found = audit(loaded, rows, batch_size=batch_size, seed=seed)
  what = f"{len(rows)} pairs of {data or 'our own sample'}, scored by {scorer}."
  publish(found, what, pathlib.Path(workdir), show=show)
  return found


def define_flags() -> None:
  """Only for the command."""
  flags.DEFINE_string(
      "scorer",
      None,
      "A run directory of experiments.reward_model, or "
      "package.module:function, called as function(prompts, completions, "
      "meta=...).",
      required=True,
  )
  flags.DEFINE_string(
      "data", None, "A .jsonl or .parquet file of prompt, chosen, rejected."
  )
  flags.DEFINE_integer("batch_size", 16, "Completions per call of the scorer.")
  flags.DEFINE_integer("limit", 1000, "Pairs that are read, at most.")
  flags.DEFINE_integer("seed", 0, "Of the bootstrap, and of our own sample.")
  flags.DEFINE_string("workdir", "runs/audit_reward_model", "For everything.")


def main(argv):
  if len(argv) > 1:
    sys.exit(f"error: unexpected argument {argv[1]!r}; flags begin with --.")
  logging.set_verbosity(logging.ERROR)  # jax tells of backends it lacks
  given = flags.FLAGS
  options = dict(data=given.data, batch_size=given.batch_size)
  options |= dict(limit=given.limit, seed=given.seed)
  try:
    run(given.scorer, given.workdir, **options)
  except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")


if __name__ == "__main__":
  define_flags()
  app.run(main)
