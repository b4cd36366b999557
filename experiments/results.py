"""What was measured, one JSON file per method, so that no figure is typed.

An experiment calls `write_result`; `experiments.methods_table` and the docs
read the files back with `load_results`. The fields of a file:

    slug        the row of `docs/methods.md`, and the file's name
    title       a short name for people
    command     the shell command that writes this file again
    criterion   the condition that decides `passed`, fixed before the run
    passed      true, false, or null where nothing was to be decided
    rows        [{name, metric, mean, low, high, n}]; low and high are the
                ends of an interval, n the number of independent runs
    note        which interval it is, and anything the reader must know
    unit        what n counts; "seeds" where absent
"""

import json
import math
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

RESULTS = pathlib.Path(__file__).parent.parent / "docs" / "results"
_SLUG = re.compile(r"[a-z0-9][a-z0-9_]*")


class Row(NamedTuple):
  """One measured number: a mean over `n` runs and its interval."""

  name: str
  metric: str
  mean: float
  low: float
  high: float
  n: int


class Result(NamedTuple):
  """All that one experiment found out about one method."""

  slug: str
  title: str
  command: str
  criterion: str
  passed: bool | None
  rows: tuple[Row, ...]
  note: str = ""
  unit: str = "seeds"


def _require(valid: bool, where: str, message: str) -> None:
  if not valid:
    raise ValueError(f"{where}: {message}")


def _exact_keys(where: str, given: Mapping, record: type) -> None:
  expected = set(record._fields)
  required = expected - set(record._field_defaults)
  missing, unknown = required - set(given), set(given) - expected
  _require(not missing, where, f"missing {sorted(missing)}.")
  _require(not unknown, where, f"unknown {sorted(unknown)}.")


def _check_text(where: str, record: NamedTuple, *names: str) -> None:
  for name in names:
    text = getattr(record, name)
    _require(
        isinstance(text, str) and bool(text.strip()),
        where,
        f"{name} must be a non-empty string, got {text!r}.",
    )


def _parse_row(where: str, given: Mapping[str, Any] | Row) -> Row:
  given = given._asdict() if isinstance(given, Row) else given
  _exact_keys(where, given, Row)
  row = Row(**given)
  _check_text(where, row, "name", "metric")
  # float() and int() take the scalars of NumPy and JAX too.
  numbers = {k: float(getattr(row, k)) for k in ("mean", "low", "high")}
  for name, number in numbers.items():
    _require(math.isfinite(number), where, f"{name} must be finite.")
  _require(
      numbers["low"] <= numbers["mean"] <= numbers["high"],
      where,
      f"expected low <= mean <= high, got {numbers}.",
  )
  _require(
      int(row.n) == row.n >= 1, where, f"n must be a count >= 1, got {row.n!r}."
  )
  return row._replace(n=int(row.n), **numbers)


def parse_result(given: Mapping[str, Any]) -> Result:
  """Checks one record and returns it.

  Args:
    given: the fields of `Result`; `rows` holds mappings or `Row`s.

  Raises:
    ValueError: naming the slug and the field that is missing, unknown or
      wrong: an interval that does not hold its mean, a number that is not
      finite, a pair of rows with one name and metric.
  """
  where = f"result {given.get('slug')!r}"
  _exact_keys(where, given, Result)
  result = Result(**given)
  _check_text(where, result, "slug", "title", "command", "criterion", "unit")
  _require(
      _SLUG.fullmatch(result.slug) is not None,
      where,
      "slug must be lower case letters, digits and underscores.",
  )
  _require(
      result.passed is None or isinstance(result.passed, bool),
      where,
      f"passed must be True, False or None, got {result.passed!r}.",
  )
  _require(isinstance(result.note, str), where, "note must be a string.")
  _require(len(result.rows) > 0, where, "rows must not be empty.")
  rows = tuple(
      _parse_row(f"{where}, row {i}", row) for i, row in enumerate(result.rows)
  )
  keys = {(row.name, row.metric) for row in rows}
  _require(len(keys) == len(rows), where, "two rows share name and metric.")
  return result._replace(rows=rows)


def write_result(
    slug: str,
    *,
    title: str,
    command: str,
    criterion: str,
    passed: bool | None,
    rows: Sequence[Mapping[str, Any] | Row],
    note: str = "",
    unit: str = "seeds",
    folder: str | os.PathLike = RESULTS,
) -> pathlib.Path:
  """Checks a result, writes `<folder>/<slug>.json` and returns its path.

  Raises:
    ValueError: as `parse_result`; the file on disk then stays as it was.
  """
  result = parse_result(
      dict(
          slug=slug,
          title=title,
          command=command,
          criterion=criterion,
          passed=passed,
          rows=rows,
          note=note,
          unit=unit,
      )
  )
  record = result._asdict() | {"rows": [r._asdict() for r in result.rows]}
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / f"{slug}.json"
  # Renamed into place: nobody ever reads half a file.
  partial = path.with_suffix(f".{os.getpid()}.partial")
  partial.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
  os.replace(partial, path)
  return path


def load_results(folder: str | os.PathLike = RESULTS) -> dict[str, Result]:
  """Reads every `*.json` of `folder`, by slug, in alphabetical order.

  Raises:
    ValueError: naming the file, where its contents do not fit or its name
      is not its slug.
  """
  results = {}
  for path in sorted(pathlib.Path(folder).glob("*.json")):
    try:
      result = parse_result(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
      raise ValueError(f"{path}: {error}") from error
    _require(
        result.slug == path.stem, str(path), f"its slug is {result.slug!r}."
    )
    results[result.slug] = result
  return results
