"""What an audit found: tables, figures, examples, report, results file."""

import json
import math
import pathlib
from typing import Any, NamedTuple

import numpy as np

from experiments import audit_advice, audit_options, audit_tables, results
from experiments.audit_advice import Advice
from experiments.audit_options import Options
from experiments.audit_rates import RATES, Findings
from experiments.audit_rows import Answers
from experiments.audit_verdicts import Verdicts
from rewardjax.training import logging, report
from rewardjax.training.report import Section, Table

NOTE = (
    "Wilson intervals for both rates and the share of right answers, Newcombe "
    "for J; rows with equal prompts count as dependent."
)


class Audited(NamedTuple):
  """All that a report tells."""

  options: Options
  answers: Answers
  observed: Verdicts
  truth: Verdicts
  groups: list[str] | None  # of each row
  found: Findings
  advice: Advice


def disagreements(audited: Audited) -> list[dict[str, Any]]:
  """Rows on which both sides know and differ, in the order of the file."""
  answers, options = audited.answers, audited.options
  observed, truth = audited.observed.labels, audited.truth.labels
  rows = np.flatnonzero(
      np.isfinite(observed) & np.isfinite(truth) & (observed != truth)
  )
  fields = (
      options.prompt_field, options.reference_field, options.completion_field
  )
  return [
      {
          "place": answers.places[i],
          "group": "all" if audited.groups is None else audited.groups[i],
          "error": RATES[int(truth[i])],
          **{
              name: answers.records[i].get(field, "")
              for name, field in zip(
                  ("prompt", "reference", "completion"), fields
              )
          },
      }
      for i in rows
  ]


def _what(audited: Audited) -> str:
  """What was compared with what, and what was left out."""
  o, found = audited.options, audited.found
  counts = lambda x: ", ".join(f"{n} {k}" for k, n in x.counts.items() if n)
  lines = [
      f"{len(audited.answers.records)} rows of {o.answers}, of which "
      f"{int(found.overall.cells.sum())} have a verdict and a trusted label.",
      f"Audited: {audited.observed.source} ({counts(audited.observed)}).",
      f"Believed: {audited.truth.source} ({counts(audited.truth)}).",
      "What is unknown (time-out, crash, unreadable, null) is left out, never "
      "read as wrong.",
  ]
  if o.unparsable == "unknown" and audited.observed.counts.get("unparsable"):
    lines.append(
        "Answers that the verifier could not read are left out: train with "
        'config.verifier.unparsable = "invalid", or audit with '
        "--unparsable=wrong."
    )
  if audited.answers.duplicates:
    fate = "left out" if o.drop_duplicates else "counted"
    lines.append(
        f"{audited.answers.duplicates} rows repeat another one throughout and "
        f"were {fate}."
    )
  if o.trusted_false_positive or o.trusted_false_negative:
    lines.append(
        "The trusted side errs too, at the rates that were given "
        f"({o.trusted_false_positive:g}, {o.trusted_false_negative:g}): what "
        "is estimated are the rates against the truth behind it (Rogan and "
        "Gladen), on the assumption that both sides err independently, given "
        "the truth. Counts and examples are against the trusted side."
    )
  elif not o.trusted_false_positive and "verifier" in audited.truth.source:
    lines.append(
        "The rates are against the trusted verifier, not against the truth: "
        "where it errs, they count that."
    )
  return "\n\n".join(lines)


def publish(
    audited: Audited,
    workdir: pathlib.Path,
    *,
    results_dir: pathlib.Path | None = None,
    show: bool = True,
) -> None:
  """Writes report.html, figures, summary.json and disagreements.jsonl.

  Args:
    audited: what was found.
    workdir: where to.
    results_dir: where the rates are kept for the docs; None keeps none.
    show: whether to print the tables.
  """
  rows = disagreements(audited)
  path = report.write_report(
      workdir / "report.html", audited.options.title, _sections(audited, rows)
  )
  lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
  logging.write_atomically(workdir / "disagreements.jsonl", "".join(lines))
  logging.write_atomically(
      workdir / "summary.json", json.dumps(summary(audited), indent=2) + "\n"
  )
  if results_dir is not None:
    write_results(audited, results_dir)
  if show:
    _print(audited)
    print(f"Report: {path}")


def _sections(audited: Audited, rows: list[dict]) -> list[Section]:
  options, found, advice = audited.options, audited.found, audited.advice
  why = "\n\n".join([advice.headline, *advice.reasons])
  rates = {"rates": audit_tables.rates_figure(found)}
  cells = {"verdicts": audit_tables.cells_figure(found.overall)}
  config = Table(
      ["to paste into a config of experiments.rlvr"],
      [[line] for line in advice.config.splitlines()],
  )
  tests = audit_tables.equality_table(found, options)
  needed = audit_tables.needed_table(found, options)
  return [
      Section("Advice", why, advice.table),
      *([Section("Config", table=config)] if advice.config else []),
      Section(
          "Rates", "", audit_tables.rate_table(found, options.level), rates
      ),
      *([Section("Constant or not", table=tests)] if tests else []),
      Section(
          "Verdict against truth", "", audit_tables.cell_table(found), cells
      ),
      Section("How many samples", table=needed),
      Section("Disagreements", table=audit_tables.example_table(rows)),
      Section("What was compared", _what(audited)),
  ]


def _print(audited: Audited) -> None:
  options, found, advice = audited.options, audited.found, audited.advice
  report.print_table(audit_tables.rate_table(found, options.level))
  if tests := audit_tables.equality_table(found, options):
    report.print_table(tests)
  if advice.table:
    report.print_table(advice.table)
  print(_what(audited).replace("\n\n", "\n"))
  print("\n".join(["", advice.headline, *advice.reasons, "", advice.config]))


def summary(audited: Audited) -> dict[str, Any]:
  """Everything measured, as JSON holds it; what is unknown is null."""
  number = lambda x: round(float(x), 6) if math.isfinite(x) else None
  found, advice = audited.found, audited.advice
  test = lambda tests: {
      name: {k: v if isinstance(v, str) else number(v)
             for k, v in x._asdict().items()}
      for name, x in tests.items()
  }
  return {
      "rows": len(audited.answers.records),
      "duplicates": audited.answers.duplicates,
      "verdicts": audited.observed.counts,
      "trusted": audited.truth.counts,
      "groups": {
          one.name: {
              "cells": one.cells.tolist(),
              "few_samples": audit_advice.few_samples(one),
              **{
                  name: {
                      k: number(v)
                      for k, v in getattr(one, name)._asdict().items()
                  }
                  for name in audit_tables.LABELS
              },
          }
          for one in audit_tables.every(found)
      },
      "equal_over_groups": test(found.equal),
      "equal_over_time": test(found.drift),
      "decision": advice.decision,
      "headline": advice.headline,
      "reasons": advice.reasons,
      "config": advice.config,
  }


def write_results(audited: Audited, folder: pathlib.Path) -> None:
  """Keeps the rates that are known as docs/results/<slug>.json."""
  options = audited.options
  rows = []
  for one in audit_tables.every(audited.found):
    for name, label in audit_tables.LABELS.items():
      rate, low, high, _ = getattr(one, name)
      if math.isfinite(rate):
        numbers = (round(float(x), 6) for x in (rate, low, high))
        count = int(one.cells.sum())
        rows.append(results.Row(one.name, label, *numbers, count))
  results.write_result(
      options.slug,
      title=options.title,
      command=audit_options.command(options),
      criterion="none",
      passed=None,
      rows=rows,
      note=NOTE,
      unit="rows",
      folder=folder,
  )
