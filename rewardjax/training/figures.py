"""Figures for reports: no display, no global state, colours all can tell."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax.training.intervals import mean_intervals


class Curve(NamedTuple):
  """One line of a figure: values of n seeds at each step."""

  steps: Sequence[float]
  values: Any  # [seeds, steps]; NaN where a seed has no value


def palette(n: int) -> list[str]:
  """n colours that colour-blind readers can tell apart (Okabe and Ito)."""
  colours = "#0072B2 #D55E00 #009E73 #CC79A7 #E69F00 #56B4E9 #000000".split()
  return [colours[i % len(colours)] for i in range(n)]


def new_figure(width: float = 6.4, height: float = 3.6):
  """(figure, axes) without a display and without global state."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  figure = Figure(figsize=(width, height), layout="constrained")
  FigureCanvasAgg(figure)
  axes = figure.add_subplot()
  axes.spines[["top", "right"]].set_visible(False)
  axes.grid(alpha=0.3, linewidth=0.5)
  return figure, axes


def learning_curves(
    curves: Mapping[str, Curve],
    *,
    xlabel: str = "step",
    ylabel: str,
    title: str = "",
    level: float = 0.95,
):
  """A figure of means over seeds with bands, each line named at its end.

  Args:
    curves: by name, in the order of drawing.
    xlabel: of the horizontal axis, with its unit.
    ylabel: of the vertical axis, with its unit.
    title: above the axes.
    level: of the bands; none is drawn for a single seed.
  """
  figure, axes = new_figure()
  styles = ("-", "--", "-.", ":")
  ends = []
  for i, (name, curve) in enumerate(curves.items()):
    steps = np.asarray(curve.steps, float)
    values = np.atleast_2d(np.asarray(curve.values, np.float64))
    mean, low, high = mean_intervals(values, level)
    colour = palette(i + 1)[i]
    axes.plot(steps, mean, styles[i % 4], color=colour, linewidth=1.8)
    axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
    shown = np.flatnonzero(np.isfinite(mean))
    if shown.size:
      ends.append((steps[shown[-1]], mean[shown[-1]], name, colour))
  axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
  _name_lines(axes, ends)
  return figure


def _name_lines(axes, ends) -> None:
  """Writes each name beside the end of its line, moved apart where needed."""
  low, high = axes.get_ylim()
  gap = (high - low) * 0.065
  ends = sorted(ends, key=lambda end: end[1])
  heights = [-np.inf]
  for _, y, _, _ in ends:
    heights.append(max(y, heights[-1] + gap))
  # Moved up only, a bundle would stand above its lines.
  moved = np.mean([h - end[1] for h, end in zip(heights[1:], ends)] or [0])
  for (x, y, name, colour), height in zip(ends, heights[1:]):
    axes.annotate(
        name,
        (x, y),
        xytext=(x + 0.02 * np.ptp(axes.get_xlim()), height - moved),
        textcoords="data",
        color=colour,
        va="center",
        fontsize=9,
        annotation_clip=False,
    )
