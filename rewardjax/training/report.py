"""One HTML file and a terminal table that say what a run found.

    table = Table(
        ["arm", "accuracy"],
        [[name, intervals.mean_interval(x)] for name, x in final.items()],
    )
    curves = {name: figures.Curve(steps, x) for name, x in history.items()}
    drawn = {"curves": figures.learning_curves(curves, ylabel="accuracy")}
    sections = [Section("Accuracy", "What was run.", table, drawn)]
    write_report(run_dir / "report.html", "Noisy verifiers", sections)
    print_table(table)
"""

import base64
import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax.training.logging import jsonable, write_atomically


class Table(NamedTuple):
  """Rows of anything that `str` makes readable; floats get three digits."""

  columns: Sequence[str]
  rows: Sequence[Sequence[Any]]
  caption: str = ""


class Section(NamedTuple):
  """A heading, paragraphs (blank lines between), a table, named figures.

  `code` is shown as it stands, line by line.
  """

  title: str
  text: str = ""
  table: Table | None = None
  figures: Mapping[str, Any] = {}  # matplotlib figures by file name
  code: str = ""


def config_section(fields: Mapping[str, Any]) -> Section:
  """All fields of a run, nested ones as YAML."""
  import yaml

  class Dumper(yaml.SafeDumper):  # no Python tags, no references
    pass

  # Line breaks as \n, not as lines.
  Dumper.add_representer(
      str,
      lambda dumper, x: dumper.represent_scalar(
          "tag:yaml.org,2002:str", x, style='"' if "\n" in x else None
      ),
  )
  text = yaml.dump(jsonable(fields), Dumper=Dumper, default_flow_style=None)
  return Section("Config", code=text)


def _cell(x: Any) -> str:
  if isinstance(x, float | np.floating):
    return f"{x:.3f}"
  return str(x)


def print_table(table: Table, console: Any = None) -> None:
  """Prints a table to the terminal (or a rich console)."""
  import rich.console
  import rich.table
  from rich.markup import escape

  shown = rich.table.Table(title=table.caption or None)
  for i, column in enumerate(table.columns):
    shown.add_column(column, justify="right" if i else "left")
  for row in table.rows:
    shown.add_row(*(escape(_cell(x)) for x in row))
  (console or rich.console.Console()).print(shown)


def write_report(
    path: str | os.PathLike, title: str, sections: Sequence[Section]
) -> pathlib.Path:
  """Writes one self-contained HTML file; figures also as figures/*.png.

  Args:
    path: of the HTML file; figures go into a directory beside it.
    title: the heading of the page.
    sections: in order.

  Returns:
    The path.

  Raises:
    ValueError: if two figures have one name.
  """
  import jinja2

  path = pathlib.Path(path)
  names = [name for section in sections for name in section.figures]
  twice = sorted({name for name in names if names.count(name) > 1})
  if twice:
    raise ValueError(f"write_report: figures share the names {twice}.")
  environment = jinja2.Environment(autoescape=True)
  environment.filters["cell"] = _cell
  shown = [
      section._asdict()
      | {
          "paragraphs": [p for p in section.text.split("\n\n") if p.strip()],
          "images": [
              (name, _save(figure, path.parent / "figures" / f"{name}.png"))
              for name, figure in section.figures.items()
          ],
      }
      for section in sections
  ]
  page = environment.from_string(_PAGE).render(title=title, sections=shown)
  return write_atomically(path, page)


def _save(figure, path: pathlib.Path) -> str:
  """Writes a PNG and returns it in base64."""
  buffer = io.BytesIO()
  # No date or version inside: the same numbers give the same file.
  figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_suffix(".partial")
  partial.write_bytes(buffer.getvalue())
  os.replace(partial, path)
  return base64.b64encode(buffer.getvalue()).decode()


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222;
         font: 16px/1.5 system-ui, sans-serif; }
  h1, h2 { line-height: 1.2; }
  h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
  p, figure { max-width: 46rem; }
  div { overflow-x: auto; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
  caption { text-align: left; color: #555; padding-bottom: .4rem; }
  th, td { padding: .25rem .7rem; text-align: right; }
  td { white-space: nowrap; }
  th:first-child, td:first-child { text-align: left; padding-left: 0; }
  thead th { border-bottom: 2px solid #444; }
  tbody tr + tr td { border-top: 1px solid #eee; }
  td.text { text-align: left; white-space: pre-wrap; vertical-align: top;
            overflow-wrap: anywhere; }
  pre { font-size: .8rem; line-height: 1.35; white-space: pre-wrap; }
  figure { margin: 1.5rem 0; }
  img { max-width: 100%; }
</style>
<h1>{{ title }}</h1>
{%- for section in sections %}
<h2>{{ section.title }}</h2>
{%- for paragraph in section.paragraphs %}
<p>{{ paragraph }}</p>
{%- endfor %}
{%- if section.table %}
<div><table>
{%- if section.table.caption %}
<caption>{{ section.table.caption }}</caption>
{%- endif %}
<thead><tr>
{%- for column in section.table.columns %}<th>{{ column }}</th>{% endfor -%}
</tr></thead>
<tbody>
{%- for row in section.table.rows %}
<tr>
{%- for x in row %}
<td{% if x | cell | length > 30 %} class="text"{% endif %}>{{ x | cell }}</td>
{%- endfor %}
</tr>
{%- endfor %}
</tbody>
</table></div>
{%- endif %}
{%- if section.code %}
<pre>{{ section.code }}</pre>
{%- endif %}
{%- for name, image in section.images %}
<figure>
<img alt="{{ name }}" src="data:image/png;base64,{{ image }}">
</figure>
{%- endfor %}
{%- endfor %}
</html>
"""
