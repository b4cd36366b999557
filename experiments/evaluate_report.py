"""The tables of an evaluation: a JSON file, a page, the terminal."""

import json
import pathlib

from experiments.evaluate_options import Options
from rewardjax.diagnostics.benchmarks import arrays
from rewardjax.training import report
from rewardjax.training.logging import write_atomically
from rewardjax.training.report import Section, Table


def as_table(name: str, rows: dict) -> Table:
  """One table; what a row lacks stays empty."""
  columns = dict.fromkeys(column for row in rows.values() for column in row)
  cells = lambda row: [row.get(column, "") for column in columns]
  return Table(
      [name, *columns], [[key, *cells(row)] for key, row in rows.items()]
  )


def publish(
    options: Options,
    workdir: pathlib.Path,
    tables: arrays.Tables,
    num_rows: int,
    *,
    show: bool = True,
) -> None:
  """Writes tables.json and report.html, and prints the tables."""
  write_atomically(
      workdir / "tables.json", json.dumps(tables, indent=2) + "\n"
  )
  what = (
      f"{num_rows} rows of {', '.join(options.files)}, scored by "
      f"{options.asked}."
  )
  if not options.data:
    what += " These are the few rows that come with the package: they say "
    what += "nothing about a model."
  sections = [
      Section(
          name.capitalize(),
          what if name == "overall" else "",
          as_table(name, rows),
      )
      for name, rows in tables.items()
      if rows
  ]
  path = report.write_report(
      workdir / "report.html", f"Evaluation: {options.benchmark}", sections
  )
  if show:
    for section in sections[::-1]:
      report.print_table(section.table)
    print(what)
    print(f"Report: {path}")
