"""A study: what was measured, the criterion it met or not, and its files."""

import pathlib
import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from experiments import results
from rewardjax.training import figures, intervals, logging, report

NOTE = "Means over seeds with 95 % Student-t intervals."


class Curves(NamedTuple):
  """Lines of one figure; every line is an array `[runs, len(x)]`."""

  x: np.ndarray
  lines: Mapping[str, np.ndarray]
  x_label: str
  y_label: str
  level: float | None = None  # a horizontal line: the exact answer


class Maps(NamedTuple):
  """Heat maps of one figure over two error rates, `[len(y), len(x)]` each."""

  x: np.ndarray  # false-positive rates
  y: np.ndarray  # false-negative rates
  values: Mapping[str, np.ndarray]
  label: str
  columns: int
  low: float
  high: float


class Drawn(Protocol):
  """A figure that draws itself; it has no row in the history."""

  def draw(self):
    """A figure of matplotlib."""


class Study(NamedTuple):
  """What a study found."""

  title: str
  criterion: str
  passed: bool
  rows: list[results.Row]
  figures: Mapping[str, Curves | Maps | Drawn]
  note: str = NOTE


def mean_row(name: str, metric: str, values: Any) -> results.Row:
  """The mean of independent runs; without an interval if there is but one."""
  mean, low, high, n = intervals.mean_interval(values)
  low, high = (low, high) if n > 1 else (mean, mean)
  return results.Row(name, metric, mean, min(low, mean), max(high, mean), n)


def seed_keys(seed: int, num_seeds: int) -> jax.Array:
  """One key a run."""
  return jax.random.split(jax.random.key(seed), num_seeds)


def draw_curves(curves: Curves):
  """Means with bands, and the exact answer as a dotted line."""
  figure = figures.learning_curves(
      {name: figures.Curve(curves.x, y) for name, y in curves.lines.items()},
      xlabel=curves.x_label,
      ylabel=curves.y_label,
  )
  if curves.level is not None:
    figure.axes[0].axhline(curves.level, color="black", ls=":", lw=1)
  return figure


def draw_maps(maps: Maps):
  """One panel a method, on one colour scale, every cell with its number."""
  rows = -(-len(maps.values) // maps.columns)
  figure, axes = figures.new_figure(2.2 * maps.columns + 0.8, 2.2 * rows)
  axes.remove()
  grid = figure.subplots(
      rows, maps.columns, sharex=True, sharey=True, squeeze=False
  )
  for panel in grid.ravel()[len(maps.values) :]:
    panel.remove()
  for panel, (name, values) in zip(grid.ravel(), maps.values.items()):
    image = panel.imshow(
        values, origin="lower", cmap="cividis", vmin=maps.low, vmax=maps.high
    )
    panel.set_title(name.replace(", ", "\n"), fontsize=8)
    _write_cells(panel, values, maps)
    panel.set_xticks(range(len(maps.x)), [f"{x:g}" for x in maps.x], size=7)
    panel.set_yticks(range(len(maps.y)), [f"{y:g}" for y in maps.y], size=7)
  figure.supxlabel("false-positive rate", fontsize=9)
  figure.supylabel("false-negative rate", fontsize=9)
  figure.colorbar(image, ax=grid, label=maps.label, shrink=0.8)
  return figure


def _write_cells(panel, values, maps) -> None:
  middle = (maps.low + maps.high) / 2
  for (i, j), value in np.ndenumerate(values):
    colour = "black" if value > middle else "white"
    text = f"{value:.2f}"
    panel.text(j, i, text, ha="center", va="center", color=colour, size=5.5)


def publish(
    study: Study,
    config: Mapping[str, Any],
    run_dir: pathlib.Path,
    *,
    command: str,
    results_dir: pathlib.Path | None = None,
) -> None:
  """Writes config, metrics, figures and report; prints the table.

  Args:
    study: what was found.
    config: the fields that the run was given; `slug` names the result,
      `keep_figures` the figures that are kept beside it.
    run_dir: for config.json, metrics.jsonl, report.html and figures.
    command: what writes the result again.
    results_dir: where the result is kept for the docs; None keeps none.
  """
  run_dir = pathlib.Path(run_dir)
  (run_dir / "metrics.jsonl").unlink(missing_ok=True)
  writer = logging.MetricsWriter(run_dir, tensorboard=False)
  writer.write_config(config)
  for row in _history(study):
    writer.write(row.pop("step"), row)
  writer.close()
  verdict = "passed" if study.passed else "not reproduced"
  table = report.Table(
      ["run", "metric", "mean", "95 % interval", "n"],
      [[r.name, r.metric, r.mean, _interval(r), r.n] for r in study.rows],
  )
  drawn = {name: _draw(x) for name, x in study.figures.items()}
  text = f"Criterion: {study.criterion}.\n\nResult: {verdict}.\n\n{study.note}"
  section = report.Section("What was found", text, table, drawn)
  report.write_report(run_dir / "report.html", study.title, [section])
  report.print_table(table._replace(caption=study.title))
  print(f"{study.criterion}: {verdict}.\nReport: {run_dir / 'report.html'}")
  if results_dir is not None:
    results.write_result(
        config["slug"],
        title=study.title,
        command=command,
        criterion=study.criterion,
        passed=study.passed,
        rows=study.rows,
        note=study.note,
        folder=results_dir,
    )
    for name in config.get("keep_figures", ()):
      kept = pathlib.Path(results_dir).parent / "figures" / f"{name}.png"
      kept.parent.mkdir(exist_ok=True)
      shutil.copyfile(run_dir / "figures" / kept.name, kept)


def _draw(figure):
  if isinstance(figure, Maps):
    return draw_maps(figure)
  return draw_curves(figure) if isinstance(figure, Curves) else figure.draw()


def _interval(row: results.Row) -> str:
  return f"{row.low:.3f} to {row.high:.3f}"


def _history(study: Study):
  """A row of means for each step of each figure; final numbers last."""
  for name, curves in study.figures.items():
    if not isinstance(curves, Curves):
      continue
    means = {k: np.mean(y, axis=0) for k, y in curves.lines.items()}
    for i, x in enumerate(curves.x):
      metrics = {f"{name}/{k}": float(y[i]) for k, y in means.items()}
      yield {"step": int(x), **metrics}
  last = {f"{r.metric}/{r.name}": r.mean for r in study.rows}
  yield {"step": 0, "final": True, **last}
