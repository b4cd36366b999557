"""Tables and figures of an audit."""

import json
import math
from collections.abc import Sequence

import numpy as np

from experiments import audit_advice
from experiments.audit_options import Options
from experiments.audit_rates import RATES, Findings, Measured
from rewardjax.noise.rates import RateEstimate
from rewardjax.training import figures
from rewardjax.training.report import Table

EXAMPLES = 20
_LONGEST = 300  # characters of a text that are shown
LABELS = {
    "right": "right answers",
    "false_positive": "false positives",
    "false_negative": "false negatives",
    "youden": "J",
}


def _shown(x: RateEstimate) -> str:
  if math.isnan(x.rate):
    return "unknown"
  return f"{x.rate:.3f} ({x.low:.3f}, {x.high:.3f})"


def every(found: Findings) -> list[Measured]:
  """All rows together, then each group."""
  return [found.overall, *found.groups]


def rate_table(found: Findings, level: float) -> Table:
  """One row per group: rows, and each rate with its interval."""
  rows = []
  for one in every(found):
    few = audit_advice.few_samples(one)
    rows.append([
        one.name,
        int(one.cells.sum()),
        *(_shown(getattr(one, name)) for name in LABELS),
        f"fewer than {audit_advice.FEW} samples" if few else "",
    ])
  return Table(
      ["group", "rows", *LABELS.values(), ""],
      rows,
      f"Rates with {level:.0%} intervals; false positives are a share of the "
      "wrong answers, false negatives of the right ones.",
  )


def equality_table(found: Findings, options: Options) -> Table | None:
  """Tests that the rates are constant; None if there was nothing to test."""
  rows = [
      [
          f"{LABELS[name]}, over {what}",
          test.statistic,
          test.freedom,
          f"{test.p_value:.3g}",
          test.method.replace("_", "-"),
      ]
      for what, tests in (
          (options.group_by, found.equal), (options.drift_by, found.drift)
      )
      for name, test in tests.items()
  ]
  heads = ["rate", "statistic", "freedom", "p-value", "method"]
  return Table(heads, rows, "Is the rate constant?") if rows else None


def needed_table(found: Findings, options: Options) -> Table:
  """How many more samples make each rate as precise as asked."""
  rows = [
      [one.name, *(
          audit_advice.rows_needed(one, name, options).partition(": ")[2]
          for name in RATES
      )]
      for one in every(found)
  ]
  return Table(["group", *(LABELS[name] for name in RATES)], rows)


def cell_table(found: Findings) -> Table:
  """Rows by truth and verdict."""
  rows = [
      [one.name, *map(int, one.cells[1, ::-1]), *map(int, one.cells[0, ::-1])]
      for one in every(found)
  ]
  heads = ["right, accepted", "right, rejected", "wrong, accepted"]
  return Table(["group", *heads, "wrong, rejected"], rows, "Rows.")


def rates_figure(found: Findings):
  """Both rates and J of every group, with intervals."""
  rows = every(found)
  figure, axes = figures.new_figure(7.2, 1.2 + 0.42 * len(rows))
  places = np.arange(len(rows))[::-1]
  markers = {"false_positive": "o", "false_negative": "s", "youden": "D"}
  for i, (name, marker) in enumerate(markers.items()):
    values = [getattr(one, name) for one in rows]
    rate, low, high, _ = np.array(values, float).T
    heights, colour = places + 0.24 * (1 - i), figures.palette(i + 1)[i]
    known = ~np.isnan(rate)  # the others may be anything: no line
    axes.hlines(heights[known], low[known], high[known], colour, lw=1.3)
    axes.plot(
        rate, heights, marker, color=colour, ms=4.5, label=LABELS[name]
    )
  axes.set_yticks(places, [one.name for one in rows])
  low = min([0.0, *(x.youden.low for x in rows if x.youden.count)])
  axes.set(xlabel="rate", xlim=(low - 0.02, 1.02))
  axes.legend(
      ncols=3, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0)
  )
  return figure


def cells_figure(one: Measured):
  """Verdict against truth: rows and their share of the true class."""
  figure, axes = figures.new_figure(3.8, 2.6)
  axes.grid(False)
  share = one.cells / np.maximum(one.cells.sum(1, keepdims=True), 1)
  axes.imshow(share[::-1, ::-1], cmap="Blues", vmin=0, vmax=1, aspect="auto")
  for (i, j), value in np.ndenumerate(share[::-1, ::-1]):
    text = f"{one.cells[::-1, ::-1][i, j]}\n{value:.1%}"
    colour = "white" if value > 0.6 else "black"
    axes.text(j, i, text, ha="center", va="center", color=colour)
  axes.set_xticks([0, 1], ["accepted", "rejected"])
  axes.set_yticks([0, 1], ["right", "wrong"])
  axes.set(xlabel="verdict", ylabel="truth")
  return figure


def examples(rows: Sequence[dict], *, most: int = EXAMPLES) -> list[dict]:
  """At most so many, in turn over kinds of error and groups, unlike ones."""
  queues, seen = {}, set()
  for row in rows:
    key = str(row["reference"]), str(row["completion"])
    if key not in seen:
      queues.setdefault((row["error"], row["group"]), []).append(row)
    seen.add(key)
  chosen = []
  for turn in range(most):
    chosen += [queue[turn] for queue in queues.values() if turn < len(queue)]
  return chosen[:most]


def example_table(rows: Sequence[dict]) -> Table:
  """A few disagreements, long texts cut."""
  def shown(value):
    value = value if isinstance(value, str) else json.dumps(value)
    return value if len(value) <= _LONGEST else value[:_LONGEST] + " ..."

  heads = ["error", "group", "prompt", "reference", "completion"]
  return Table(
      heads,
      [
          [LABELS[row["error"]], *(shown(row[name]) for name in heads[1:])]
          for row in examples(rows)
      ],
      f"{len(rows)} disagreements; at most {EXAMPLES} are shown.",
  )
