"""What a tournament found: table, figures, results file and page."""

import pathlib
from collections.abc import Mapping

import ml_collections as mlc
import numpy as np

from experiments import results, rlvr_report, tournament_page
from experiments import tournament_statistics as statistics
from experiments.rlvr_recipes import RECIPES
from experiments.tournament_statistics import Arm, Summary
from rewardjax.training import figures, report
from rewardjax.training.intervals import Interval

FIGURES = pathlib.Path(__file__).parent.parent / "docs" / "figures"


def order(summary: Summary) -> list[str]:
  """Recipes by their interquartile mean with the first verifier."""
  first = next(iter(summary.arms))[1]
  means = {
      recipe: rows[statistics.IQM].mean
      for (recipe, verifier), rows in summary.arms.items()
      if verifier == first
  }
  return sorted(means, key=means.get, reverse=True)


def verifiers(summary: Summary) -> list[str]:
  return list(dict.fromkeys(verifier for _, verifier in summary.arms))


def cell(interval: Interval | None, digits: int = 2) -> str:
  """A mean and the ends of its interval; they need not be symmetric."""
  if interval is None:
    return "-"
  mean, low, high = (f"{x:.{digits}f}" for x in interval[:3])
  return mean if mean == low == high else f"{mean} ({low}, {high})"


def table(summary: Summary) -> report.Table:
  """A row per recipe, the verifiers side by side for each metric."""
  names = list(dict.fromkeys(k for rows in summary.arms.values() for k in rows))
  columns = [f"{name}, {x}" for name in names for x in verifiers(summary)]
  rows = [
      [
          recipe,
          *(
              cell(found.get(name), 0 if name.startswith("samples") else 2)
              for name in names
              for found in (summary.arms[recipe, x] for x in verifiers(summary))
          ),
      ]
      for recipe in order(summary)
  ]
  return report.Table(["recipe", *columns], rows)


def interval_figure(summary: Summary, metric: str, xlabel: str, line: float):
  """A dot and an interval per recipe, the verifiers in two colours."""
  recipes = [
      recipe
      for recipe in order(summary)
      if metric in summary.arms[recipe, verifiers(summary)[0]]
  ]
  figure, axes = figures.new_figure(6.4, 0.9 + 0.28 * len(recipes))
  colours = figures.palette(len(verifiers(summary)))
  for i, verifier in enumerate(verifiers(summary)):
    found = [summary.arms[recipe, verifier][metric] for recipe in recipes]
    mean, low, high = np.array([x[:3] for x in found]).T
    axes.errorbar(
        mean,
        np.arange(len(recipes)) + (i - 0.5) * 0.25,
        xerr=np.clip([mean - low, high - mean], 0, None),
        fmt="os"[i % 2],
        markersize=4,
        linewidth=1.2,
        color=colours[i],
        label=f"{verifier} verifier",
    )
  axes.axvline(line, color="black", linestyle=":", linewidth=1)
  axes.set_yticks(range(len(recipes)), recipes)
  axes.invert_yaxis()
  axes.set(xlabel=xlabel)
  axes.legend(
      ncols=2, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1),
      frameon=False,
  )
  return figure


def draw(config: mlc.ConfigDict, summary: Summary) -> dict:
  """The figures, by the names of their files."""
  drawn = {
      "tournament_accuracy": interval_figure(
          summary,
          statistics.IQM,
          "interquartile mean of the final accuracy (dotted: the start)",
          summary.start.mean,
      )
  }
  if len(config.tournament.recipes) > 1:
    drawn["tournament_improvement"] = interval_figure(
        summary,
        statistics.IMPROVES,
        f"probability of improvement over {config.tournament.baseline}",
        0.5,
    )
  return drawn


def explanation(config: mlc.ConfigDict) -> str:
  """How to read the numbers: of the report and of the page."""
  o, sampling = config.tournament, config.sampling
  per_step = sampling.batch_size * sampling.group_size
  shown = [x for x in o.recipes if RECIPES[x].needs.demonstrations]
  taught = (
      f" {', '.join(shown)} imitates the reference answers of the training "
      "problems as well, which the others never see, and is no like for like."
  )
  return (
      "All arms start from one supervised warm-up per seed and draw "
      f"{per_step} samples in each of {config.num_steps} steps, with one "
      "optimiser and one learning rate for all and the defaults of each "
      "recipe, none of them tuned. A batch serves "
      f"{config.updates_per_batch} updates, one where the recipe has no ratio "
      "of new to old policy. Accuracy is the probability of the "
      "reference answer, exact, after the last step, on problems drawn as the "
      "training problems are, the same ones among them; pass@k follows from "
      "the same probabilities. Interquartile means and probabilities of "
      "improvement have stratified bootstrap intervals over seeds, the other "
      "columns Student's t intervals; all are 95% intervals. Samples are "
      f"counted until an accuracy of {o.threshold:g} is logged, every "
      f"{config.log_every} steps; runs that do not reach it count as the "
      f"whole budget of {per_step * config.num_steps}, so that the mean is a "
      "lower bound where not all runs reach it. Entropy is of the samples of "
      "the last steps, in nats per token."
  ) + taught * bool(shown)


def write(
    config: mlc.ConfigDict,
    workdir: pathlib.Path,
    arms: Mapping[Arm, str],
    *,
    show: bool,
) -> Summary:
  """Writes report.html and figures, prints the table if `show`.

  Args:
    config: of the run, arms and all.
    workdir: where its metrics are.
    arms: names of the arms by recipe and verifier.
    show: whether to print.
  """
  curves = {
      arm: rlvr_report.read_curves(workdir, f"{name}/")
      for arm, name in arms.items()
  }
  summary = statistics.summarize(config, curves)
  verdict = "met" if statistics.has_passed(summary) else "not met"
  shown = table(summary)
  text = (
      f"{explanation(config)}\n\nCriterion, fixed before the run: "
      f"{config.criterion.text}: {verdict}, "
      f"{cell(summary.carried)}."
  )
  sections = [
      report.Section("Recipes", text, shown, draw(config, summary)),
      report.config_section(config.to_dict()),
  ]
  path = report.write_report(workdir / "report.html", config.title, sections)
  if show:
    report.print_table(_short(shown))
    print(f"{config.criterion.text}: {verdict}.\nReport: {path}")
  return summary


def _short(shown: report.Table) -> report.Table:
  """As many columns as a terminal has room for."""
  kept = [
      i
      for i, name in enumerate(shown.columns)
      if name.startswith(("recipe", statistics.IQM, statistics.IMPROVES))
  ]
  pick = lambda row: [row[i] for i in kept]
  return report.Table(pick(shown.columns), list(map(pick, shown.rows)))


def result_rows(summary: Summary) -> list[results.Row]:
  """Every number, as a results file holds it."""
  rows = []
  for recipe in order(summary):
    for verifier in verifiers(summary):
      for metric, found in summary.arms[recipe, verifier].items():
        rows.append(_row(f"{recipe}, {verifier}", metric, found))
  rows.append(_row("all", "accuracy before training", summary.start))
  rows.append(_row("all", "rank correlation", summary.carried))
  return rows


def _row(name: str, metric: str, found: Interval) -> results.Row:
  """A percentile interval need not hold the statistic itself."""
  low = np.nanmin([found.low, found.mean])
  high = np.nanmax([found.high, found.mean])
  return results.Row(name, metric, found.mean, low, high, found.n)


def write_results(
    config: mlc.ConfigDict,
    summary: Summary,
    *,
    folder: pathlib.Path = results.RESULTS,
    figures_to: pathlib.Path = FIGURES,
    page: pathlib.Path = tournament_page.PAGE,
) -> None:
  """Writes the results file, the figures of the docs, and their page."""
  path = results.write_result(
      config.slug,
      title=config.title,
      command=f"python -m experiments.tournament --config={config.path} "
      "--write_results",
      criterion=config.criterion.text,
      passed=statistics.has_passed(summary),
      rows=result_rows(summary),
      note=explanation(config),
      folder=folder,
  )
  figures_to.mkdir(parents=True, exist_ok=True)
  for name, figure in draw(config, summary).items():
    figure.savefig(
        figures_to / f"{name}.png", dpi=150, metadata={"Software": None}
    )
  result = results.load_results(path.parent)[config.slug]
  page.write_text(tournament_page.render(result))
