"""Writes the tables of the pages from docs/results, so that none is typed.

Run: python -m experiments.readme_results --write
Without the flag it only says whether the tables are up to date. A table
stands between `<!-- results: <slug> -->` and `<!-- /results -->`.
"""

import argparse
import pathlib
import re
import sys
from collections.abc import Mapping

from experiments.results import Result, load_results

_ROOT = pathlib.Path(__file__).parent.parent
PAGES = (_ROOT / "README.md", _ROOT / "docs" / "noise.md")
_BLOCK = re.compile(
    r"(<!-- results: (\w+) -->\n).*?(<!-- /results -->)", re.DOTALL
)


def table(result: Result) -> str:
  """One row per name, one column per metric, and what decided."""
  metrics = list(dict.fromkeys(row.metric for row in result.rows))
  arms = list(dict.fromkeys(row.name for row in result.rows))
  cells = {
      (row.name, row.metric): f"{row.mean:.3f} ({row.low:.3f}, {row.high:.3f})"
      for row in result.rows
  }
  head = "arm" if result.unit == "seeds" else "group"
  lines = ["| " + " | ".join([head, *metrics]) + " |"]
  lines.append("|---" * (len(metrics) + 1) + "|")
  for arm in arms:
    row = [cells.get((arm, metric), "") for metric in metrics]
    lines.append("| " + " | ".join([arm, *row]) + " |")
  verdict = {True: "met", False: "**not met**", None: "not decided"}
  decided = (
      f" Criterion, fixed before the run: {result.criterion}: "
      f"{verdict[result.passed]}."
  )
  lines.append("")
  lines.append(
      f"{result.note} {max(row.n for row in result.rows)} {result.unit}."
      f"{'' if result.criterion == 'none' else decided} "
      f"Written by `{result.command}`."
  )
  return "\n".join(lines)


def fill(text: str, results: Mapping[str, Result]) -> str:
  """The page with every block between its marks written anew.

  Raises:
    KeyError: if a block names a result that was not measured.
  """

  def block(match):
    return f"{match[1]}\n{table(results[match[2]])}\n\n{match[3]}"

  return _BLOCK.sub(block, text)


def main(argv: list[str] | None = None) -> int:
  """Writes or checks; 1 if a page is out of date."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--write", action="store_true")
  arguments = parser.parse_args(argv)
  stale, results = [], load_results()
  for page in PAGES:
    before = page.read_text()
    after = fill(before, results)
    if arguments.write:
      page.write_text(after)
    elif before != after:
      stale.append(page.name)
  if stale:
    print(f"{', '.join(stale)}: out of date, run with --write.",
          file=sys.stderr)
  return int(bool(stale))


if __name__ == "__main__":
  sys.exit(main())
