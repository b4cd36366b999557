"""What a run of `experiments.rlvr` found: table, figures, results file."""

import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import ml_collections as mlc
import numpy as np

from experiments import results
from rewardjax.training import figures, report
from rewardjax.training.figures import Curve
from rewardjax.training.intervals import Interval, mean_interval
from rewardjax.training.logging import read_rows
from rewardjax.training.report import Section, Table

_FIGURES = {
    "true_reward": "reward by the trusted verifier",
    "reward": "reward as observed",
    "entropy": "entropy (nats per token)",
    "dead_groups": "share of groups with equal rewards",
    "estimated_false_negative": "estimated false-negative rate",
    "estimated_false_positive": "estimated false-positive rate",
}


class Summary(NamedTuple):
  """Final accuracy of each arm: `[S]` per metric, and its interval."""

  final: dict[str, dict[str, np.ndarray]]
  intervals: dict[str, dict[str, Interval]]
  gains: dict[str, Interval]  # paired, over the seeds, against `baseline`
  partings: dict[str, Interval]  # steps until it differs from `baseline`
  baseline: str


def read_curves(workdir: pathlib.Path, prefix: str = "") -> dict[str, Curve]:
  """Metrics whose names begin so, over their steps: `[S, steps]`."""
  found = {}
  for row in read_rows(workdir / "metrics.jsonl"):
    for name, value in row.items():
      if name.startswith(prefix) and name not in ("stage", "step"):
        points = found.setdefault(name.removeprefix(prefix), ([], []))
        points[0].append(row["step"])
        points[1].append(value)
  return {
      name: Curve(steps, np.array(values, float).T)
      for name, (steps, values) in found.items()
  }


def summarize(config: mlc.ConfigDict, curves: dict[str, dict]) -> Summary:
  """Accuracies at the end of each arm, and paired gains.

  Seed i of every arm starts from one warm-up and sees the same problems, so
  differences are taken seed by seed.
  """
  kinds = config.task.kinds if len(config.task.kinds) > 1 else ()
  names = ["accuracy", *(f"accuracy/{kind}" for kind in kinds)]
  final = {
      arm: {name: found[name].values[:, -1] for name in names}
      for arm, found in curves.items()
  }
  baseline = "uncorrected" if "uncorrected" in final else next(iter(final))
  gain = lambda arm: final[arm]["accuracy"] - final[baseline]["accuracy"]
  others = [arm for arm in final if arm != baseline]
  accuracy = {arm: found["accuracy"] for arm, found in curves.items()}
  return Summary(
      final,
      {
          arm: {k: mean_interval(v) for k, v in values.items()}
          for arm, values in final.items()
      },
      {arm: mean_interval(gain(arm)) for arm in others},
      {
          arm: mean_interval(parting(accuracy[arm], accuracy[baseline]))
          for arm in others
      },
      baseline,
  )


def parting(curve: Curve, other: Curve, tolerance: float = 1e-3) -> np.ndarray:
  """First logged step `[S]` at which two curves differ; else the last one.

  Arms whose advantages are equal up to rounding part too, but late: when a
  rounding error has grown until it changes one sampled token.
  """
  apart = np.abs(curve.values - other.values) > tolerance
  first = np.where(apart.any(1), apart.argmax(1), apart.shape[1] - 1)
  return np.asarray(curve.steps)[first]


def accuracy_table(summary: Summary) -> Table:
  """One row per arm: accuracy, its gain over the baseline, and by kind."""
  first = next(iter(summary.intervals.values()))
  kinds = [name for name in first if name != "accuracy"]
  rows = [
      [
          arm,
          str(found["accuracy"]),
          str(summary.gains.get(arm, "-")),
          *(found[kind].mean for kind in kinds),
      ]
      for arm, found in summary.intervals.items()
  ]
  names = [kind.removeprefix("accuracy/") for kind in kinds]
  return Table(
      ["arm", "accuracy", "gain", *names],
      rows,
      f"Mean of {first['accuracy'].n} seeds at the end, 95% t interval; gain "
      f"over {summary.baseline}, paired by seed.",
  )


def _figures(curves: dict[str, dict[str, Curve]], baseline: str):
  """Learning curves by name: means over seeds with 95% bands."""
  accuracy = {arm: found["accuracy"] for arm, found in curves.items()}
  against = accuracy[baseline].values
  gains = {
      arm: Curve(curve.steps, curve.values - against)
      for arm, curve in accuracy.items()
      if arm != baseline
  }
  drawn = {
      "accuracy": figures.learning_curves(
          accuracy, ylabel="accuracy on held-out problems"
      ),
  }
  if gains:
    drawn["gain"] = figures.learning_curves(
        gains, ylabel=f"gain over {baseline}, paired by seed"
    )
  for name, label in _FIGURES.items():
    shown = {arm: found[name] for arm, found in curves.items() if name in found}
    if shown:
      drawn[name] = figures.learning_curves(shown, ylabel=label)
  return drawn


def bars(summary: Summary):
  """Final accuracy of each kind of problem, arms side by side."""
  figure, axes = figures.new_figure(7.2, 3.6)
  arms = list(summary.intervals)
  width = 0.8 / len(arms)
  for i, arm in enumerate(arms):
    found = list(summary.intervals[arm].values())
    middle = np.arange(len(found)) + (i - (len(arms) - 1) / 2) * width
    mean = np.array([x.mean for x in found])
    error = np.nan_to_num(np.array([x.high - x.mean for x in found]))
    axes.bar(
        middle,
        mean,
        width * 0.92,
        yerr=error,
        color=figures.palette(i + 1)[i],
        label=arm,
        error_kw=dict(elinewidth=1),
    )
  names = [x.removeprefix("accuracy/") for x in summary.intervals[arms[0]]]
  names[0] = "all"
  axes.set_xticks(range(len(names)), names)
  axes.set(ylabel="accuracy at the end", ylim=(0, 1))
  axes.legend(ncols=len(arms), fontsize=8, loc="upper center",
              bbox_to_anchor=(0.5, 1.15), frameon=False)
  return figure


def write(
    config: mlc.ConfigDict,
    workdir: pathlib.Path,
    arms: Iterable[str],
    *,
    show: bool,
) -> Summary:
  """Writes report.html and figures, prints the table if `show`."""
  curves = {arm: read_curves(workdir, f"{arm}/") for arm in arms}
  summary = summarize(config, curves)
  # The warm-up's rows have no arm in front of their names.
  warm = read_curves(workdir)["accuracy"].values[:, -1]
  table = accuracy_table(summary)
  drawn = _figures(curves, summary.baseline)
  text = (
      f"All arms start at {mean_interval(warm)}, after the same "
      f"supervised warm-up, and take {config.num_steps} steps. Accuracy is "
      "judged by the trusted verifier on held-out problems; nothing of it is "
      "seen in training."
  )
  first = {k: drawn.pop(k) for k in ("accuracy", "gain") if k in drawn}
  sections = [
      Section("Accuracy", text, table, first),
      Section("By kind of problem", figures={"kinds": bars(summary)}),
      Section("While training", figures=drawn),
      Section("Config", str(config)),
  ]
  path = report.write_report(workdir / "report.html", config.title, sections)
  if show:
    report.print_table(table)
    print(f"Report: {path}")
  return summary


def write_results(config: mlc.ConfigDict, summary: Summary) -> None:
  """Writes docs/results/<slug>.json, from which docs/methods.md is made."""
  if not config.slug:
    raise ValueError("config.slug must name the results file.")
  rows = [
      results.Row(arm, metric, *interval)
      for arm, found in summary.intervals.items()
      for metric, interval in found.items()
  ]
  rows += [
      results.Row(arm, f"gain over {summary.baseline}", *interval)
      for arm, interval in summary.gains.items()
  ]
  rows += [
      results.Row(arm, f"steps until it parts from {summary.baseline}", *steps)
      for arm, steps in summary.partings.items()
  ]
  passed = None
  if config.criterion.arm:
    gain = summary.gains[config.criterion.arm]
    passed = bool(gain.low > config.criterion.low)
    passed &= bool(gain.high < config.criterion.high)
  results.write_result(
      config.slug,
      title=config.title,
      command=f"python -m experiments.rlvr --config={config.path} "
      "--write_results",
      criterion=config.criterion.text,
      passed=passed,
      rows=rows,
      note="Mean over seeds and 95% Student t interval.",
  )
