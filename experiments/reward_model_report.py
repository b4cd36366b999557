"""The page and the tables of a trained reward model."""

import json
import pathlib
import shutil

import numpy as np

from experiments.reward_model_measures import Found, Measures
from experiments.reward_model_noise import Notes
from rewardjax.training import figures, report
from rewardjax.training.figures import Curve
from rewardjax.training.logging import jsonable, write_atomically
from rewardjax.training.report import Section, Table

FIGURES = pathlib.Path(__file__).parent.parent / "docs" / "figures"


def keep_reliability(workdir: str | pathlib.Path, slug: str) -> pathlib.Path:
  """Copies the figure of a run to where the docs show it.

  Raises:
    ValueError: if the run has none.
  """
  drawn = pathlib.Path(workdir) / "figures" / "reliability.png"
  if not drawn.exists():
    raise ValueError(
        f"{drawn} does not exist: only comparisons have probabilities, and "
        "only with rows kept for testing."
    )
  kept = FIGURES / f"{slug}_reliability.png"
  shutil.copyfile(drawn, kept)
  return kept


def reliability_figure(measures: Measures):
  """How often the favourite wins, against the probability it was given."""
  found = measures.reliability
  figure, axes = figures.new_figure(4.2, 3.6)
  kept = np.asarray(found.count) > 0
  confidence, frequency = (
      np.asarray(x)[kept] for x in (found.confidence, found.frequency)
  )
  size = np.asarray(found.count)[kept]
  color = figures.palette(1)[0]
  axes.plot([0.5, 1], [0.5, 1], color="0.6", linewidth=1, linestyle="--")
  axes.plot(confidence, frequency, color=color)
  area = 10 + 90 * size / size.max()
  axes.scatter(confidence, frequency, s=area, color=color)
  axes.set_xlabel("calibrated probability of the favourite")
  axes.set_ylabel("share of pairs it wins")
  axes.set_xlim(0.48, 1.02)
  return figure


def curves_figure(history):
  """Losses of training and held-out rows; members are a band."""
  steps = [row["step"] for row in history]
  names = {"training": "loss", "held out": "held_out/loss"}
  curves = {
      name: Curve(steps, np.stack([np.ravel(r[key]) for r in history], axis=1))
      for name, key in names.items()
  }
  return figures.learning_curves(curves, ylabel="loss")


def tables(measures: Measures, notes: Notes) -> dict[str, Table]:
  """By the title of the section."""
  rows = [[name, str(x)] for name, x in measures.overall.items()]
  found = {"On rows kept for testing": Table(["measure", "value"], rows)}
  if not rows:
    found = {"No rows were kept for testing": Table([], [])}
  if measures.sources:
    first = next(iter(measures.overall))
    rows = [[name, str(x)] for name, x in measures.sources.items()]
    found["By source"] = Table(["source", first], rows)
  for title, values in notes.items():
    rows = [[name, str(Found(*x))] for name, x in values.items()]
    found[title] = Table([title.lower(), "share"], rows)
  return found


def publish(config, model, workdir: pathlib.Path, *, show: bool) -> None:
  """Writes measures.json and report.html; prints the tables."""
  measures, history = model.measures or Measures({}, {}), model.history
  notes = model.about.notes or {}
  found = {
      "overall": {k: x._asdict() for k, x in measures.overall.items()},
      "sources": {k: x._asdict() for k, x in measures.sources.items()},
      "notes": {
          title: {k: Found(*x)._asdict() for k, x in values.items()}
          for title, values in notes.items()
      },
      "temperature": measures.temperature,
      "best_step": history[-1]["best_step"],
  }
  text = json.dumps(jsonable(found), indent=2) + "\n"
  write_atomically(workdir / "measures.json", text)
  made = tables(measures, notes)
  best = np.asarray(history[-1]["best_step"]).astype(int).ravel().tolist()
  about = (
      f"{config.loss.name} on {model.about.kind}, {config.members} member(s), "
      f"best at step {', '.join(map(str, best))} of {history[-1]['step']}. "
      "Intervals hold 95%: of shares Wilson's, of means Student's; rows that "
      "share a prompt count as if they did not."
  )
  sections = [
      Section(title, about if i == 0 else "", table)
      for i, (title, table) in enumerate(made.items())
  ]
  sections.append(
      Section("Learning", "", figures={"learning": curves_figure(history)})
  )
  if measures.reliability is not None:
    drawn = {"reliability": reliability_figure(measures)}
    text = (
        f"The temperature {measures.temperature:.3g} was fitted on held-out "
        "pairs; the points are of pairs kept for testing, larger where there "
        "are more. On the dashed line probabilities mean what they say."
    )
    sections.append(Section("Reliability", text, figures=drawn))
  sections.append(report.config_section(config.to_dict()))
  path = report.write_report(workdir / "report.html", config.title, sections)
  if show:
    for table in made.values():
      report.print_table(table)
    print(about)
    print(f"Report: {path}")
