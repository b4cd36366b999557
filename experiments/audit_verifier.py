r"""How often does a verifier err, and does it matter? An audit of its answers.

    python -m experiments.audit_verifier --answers=answers.jsonl \
        --verifier=exact_match --trusted=label --group_by=source

Flow: answers -> verdicts -> both error rates, overall and per group, with
intervals -> tests that they are constant -> a recommendation (a correction,
none, more samples, another verifier) and the config that goes with it. Writes
report.html, summary.json, disagreements.jsonl and figures to the run
directory, and docs/results/<slug>.json with --write_results. See
docs/noise.md for the reasons; `experiments.sample_answers` makes answers.
"""

import pathlib
import sys

from absl import app, flags, logging

from experiments import (
    audit_advice,
    audit_options,
    audit_rates,
    audit_report,
    audit_rows,
    audit_verdicts,
    results,
)
from experiments.audit_options import Options
from experiments.audit_report import Audited
from rewardjax.types import NoiseRates


def audit(options: Options, *, progress: bool = True) -> Audited:
  """Reads, judges and measures; writes nothing.

  Raises:
    ValueError: in one line, for a flag, a file or a row that makes no sense.
    OSError: if there is no such file.
  """
  options.check()
  answers = audit_rows.read(options)
  groups = answers.texts(options.group_by) if options.group_by else None
  clusters = answers.identities(options.cluster_by)
  weights = answers.weights(options)
  stretches = None
  if options.drift_by:
    moments = answers.column(options.drift_by, audit_rows.number, "a number")
    stretches = audit_rows.bins(moments)
  observed = audit_verdicts.judge(
      options.verifier,
      answers,
      options,
      reference_field=options.reference_field,
      unparsable=options.unparsable,
      progress=progress,
  )
  truth = audit_verdicts.judge(
      options.trusted,
      answers,
      options,
      reference_field=options.trusted_reference_field
      or options.reference_field,
      unparsable=options.trusted_unparsable,
      progress=progress,
  )
  found = audit_rates.measure(
      audit_rates.Sample(
          observed.labels,
          truth.labels,
          clusters if options.cluster_by else None,
          weights,
      ),
      groups=None if groups is None else audit_rows.group_ids(groups),
      stretches=stretches,
      trusted_rates=NoiseRates(
          options.trusted_false_positive, options.trusted_false_negative
      ),
      level=options.level,
  )
  advice = audit_advice.advise(found, options)
  return Audited(options, answers, observed, truth, groups, found, advice)


def run(
    options: Options,
    workdir: pathlib.Path,
    results_dir: pathlib.Path | None = None,
    *,
    show: bool = True,
) -> Audited:
  """Audits and writes everything; see `audit` for what it raises."""
  audited = audit(options, progress=show)
  audit_report.publish(
      audited, pathlib.Path(workdir), results_dir=results_dir, show=show
  )
  return audited


def main(argv):
  if len(argv) > 1:
    sys.exit(f"error: unexpected argument {argv[1]!r}; flags begin with --.")
  logging.set_verbosity(logging.ERROR)  # jax tells of backends it lacks
  options = audit_options.from_flags()
  workdir = pathlib.Path(options.workdir or f"runs/{options.slug}")
  kept = results.RESULTS if options.write_results else None
  try:
    run(options, workdir, kept)
  except (ValueError, OSError, RuntimeError) as error:
    sys.exit(f"error: {error}")


if __name__ == "__main__":
  audit_options.define_flags()
  flags.adopt_module_key_flags(audit_options)  # or --help hides them
  app.run(main)
