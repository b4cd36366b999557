"""What a run of `experiments.rlvr` found: table, figures, results file."""

import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import ml_collections as mlc
import numpy as np

from experiments import results, rlvr_config
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
  """Accuracy of each arm: `[S]` per metric at the end, and its interval."""

  final: dict[str, dict[str, np.ndarray]]
  intervals: dict[str, dict[str, Interval]]
  starts: dict[str, Interval]  # accuracy before the first step
  rises: dict[str, Interval]  # paired, over the seeds, against the start
  gains: dict[str, Interval]  # the same against `baseline`
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
  """Accuracies of each arm at the start and at the end, and paired gains.

  Seed i of every arm starts from one policy and sees the same problems, so
  differences are taken seed by seed.
  """
  kinds = config.task.kinds if len(config.task.kinds) > 1 else ()
  names = ["accuracy", *(f"accuracy/{kind}" for kind in kinds)]
  final = {
      arm: {name: found[name].values[:, -1] for name in names}
      for arm, found in curves.items()
  }
  baseline = rlvr_config.baseline_of(config, final)
  gain = lambda arm: final[arm]["accuracy"] - final[baseline]["accuracy"]
  others = [arm for arm in final if arm != baseline]
  accuracy = {arm: found["accuracy"] for arm, found in curves.items()}
  at = lambda curve, i: mean_interval(curve.values[:, i])
  return Summary(
      final,
      {
          arm: {k: mean_interval(v) for k, v in values.items()}
          for arm, values in final.items()
      },
      {arm: at(x, 0) for arm, x in accuracy.items()},
      {arm: at(rise(x), -1) for arm, x in accuracy.items()},
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


def rise(curve: Curve) -> Curve:
  """The curve of each seed, less its value before the first step."""
  return curve._replace(values=curve.values - curve.values[:, :1])


def accuracy_table(summary: Summary) -> Table:
  """One row per arm: accuracy, what training gained, and by kind."""
  first = next(iter(summary.intervals.values()))
  kinds = [name for name in first if name != "accuracy"]
  several = len(summary.intervals) > 1
  rows = []
  for arm, found in summary.intervals.items():
    middle = [summary.starts[arm], found["accuracy"], summary.rises[arm]]
    if several:
      middle.append(summary.gains.get(arm, "-"))
    rows.append([arm, *map(str, middle), *(found[kind].mean for kind in kinds)])
  columns = ["arm", "before", "after", "rise", *["gain"] * several]
  names = [kind.removeprefix("accuracy/") for kind in kinds]
  over = f" gain over {summary.baseline}, too;" * several
  return Table(
      [*columns, *names],
      rows,
      f"Accuracy, mean of {first['accuracy'].n} seeds before and after "
      f"training, 95% t interval; rise paired by seed;{over} kinds of problem "
      "after training.",
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
      "rise": figures.learning_curves(
          {arm: rise(curve) for arm, curve in accuracy.items()},
          ylabel="accuracy over the start, paired by seed",
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
  table = accuracy_table(summary)
  drawn = _figures(curves, summary.baseline)
  origin = config.model.pretrained or "the same supervised warm-up"
  text = (
      f"All arms start from {origin} and take {config.num_steps} steps. "
      "Accuracy is judged by the trusted verifier on held-out problems; "
      "nothing of it is seen in training. Bands are 95% t intervals over "
      f"{config.num_seeds} seeds."
  )
  main = ("accuracy", "rise", "gain")
  first = {k: drawn.pop(k) for k in main if k in drawn}
  sections = [
      Section("Accuracy", text, table, first),
      Section("While training", figures=drawn),
      report.config_section(config.to_dict()),
  ]
  if len(config.task.kinds) > 1:
    by_kind = Section("By kind of problem", figures={"kinds": bars(summary)})
    sections.insert(1, by_kind)
  path = report.write_report(workdir / "report.html", config.title, sections)
  if show:
    report.print_table(table)
    print(f"Report: {path}")
  return summary


def has_passed(criterion, summary: Summary) -> bool | None:
  """Whether the gain that the criterion names lies within its bounds."""
  if not criterion.arm:
    return None
  found = summary.rises if criterion.over == "start" else summary.gains
  gain = found[criterion.arm]
  return bool(gain.low > criterion.low) and bool(gain.high < criterion.high)


def result_rows(summary: Summary) -> list[results.Row]:
  """Every number of a summary, as a results file holds it."""
  rows = [
      results.Row(arm, metric, *interval)
      for arm, found in summary.intervals.items()
      for metric, interval in found.items()
  ]
  baseline = summary.baseline
  for metric, found in {
      "accuracy before training": summary.starts,
      "gain over the start": summary.rises,
      f"gain over {baseline}": summary.gains,
      f"steps until it parts from {baseline}": summary.partings,
  }.items():
    rows += [results.Row(arm, metric, *x) for arm, x in found.items()]
  return rows


def write_results(config: mlc.ConfigDict, summary: Summary) -> None:
  """Writes docs/results/<slug>.json, from which docs/methods.md is made."""
  if not config.slug:
    raise ValueError("config.slug must name the results file.")
  results.write_result(
      config.slug,
      title=config.title,
      command=f"python -m experiments.rlvr --config={config.path} "
      "--write_results",
      criterion=config.criterion.text,
      passed=has_passed(config.criterion, summary),
      rows=result_rows(summary),
      note="Mean over seeds and 95% Student t interval.",
  )
