"""How good a trained reward model is on rows that it has never seen."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_model_data import Data
from experiments.reward_model_losses import COMPARISONS
from experiments.reward_model_targets import level_of
from rewardjax.core import statistics
from rewardjax.diagnostics import agreement, calibration
from rewardjax.diagnostics.calibration import Reliability
from rewardjax.noise import rates
from rewardjax.training import intervals


class Found(NamedTuple):
  """A number with its interval, which may be NaN, and rows it is from."""

  value: float
  low: float
  high: float
  count: int

  def __str__(self) -> str:
    if not np.isfinite(self.low):
      return f"{self.value:.3f} (n={self.count})"
    ends = f"{self.low:.3f}, {self.high:.3f}"
    return f"{self.value:.3f} [{ends}] (n={self.count})"


class Measures(NamedTuple):
  """What was found; reliability is None where nothing is a probability.

  overall: numbers by name.
  sources: the first of them, by source.
  reliability: of the calibrated probability of each row's favourite.
  """

  overall: dict[str, Found]
  sources: dict[str, Found]
  reliability: Reliability | None = None
  temperature: float = 1.0


def share(right: np.ndarray) -> Found:
  """A share with its Wilson interval; halves are scores that tie."""
  count = len(right)
  if not count:
    return Found(float("nan"), float("nan"), float("nan"), 0)
  found = jax.jit(rates.wilson)(
      jnp.asarray(np.sum(right), jnp.float32), jnp.asarray(count, jnp.float32)
  )
  ends = (float(found.low), float(found.high))
  return Found(float(np.mean(right)), *ends, count)


def _mean(values: np.ndarray) -> Found:
  found = intervals.mean_interval(values)
  return Found(*(float(x) for x in found[:3]), len(values))


class Margins(NamedTuple):
  """score(chosen) - score(rejected) of pairs, and what people said."""

  margins: np.ndarray
  outcomes: np.ndarray

  def decided(self) -> tuple[np.ndarray, np.ndarray]:
    """Margins and labels 1 or 0 of the rows that are no ties."""
    kept = self.outcomes != 0
    labels = (self.outcomes[kept] > 0).astype(np.float32)
    return self.margins[kept], labels


def item_scores(model, data: Data) -> list[np.ndarray]:
  """Scores of the items of each row; steps are one item."""
  chains = data.kind == "steps"
  groups = [[row.items] if chains else row.items for row in data.rows]
  prompts = [row.prompt for row, g in zip(data.rows, groups) for _ in g]
  names = [row.names.get("user") for row in data.rows]
  users = [name for name, g in zip(names, groups) for _ in g]
  found = model.score(prompts, [x for g in groups for x in g], users=users)
  ends = np.cumsum([len(g) for g in groups])[:-1]
  return np.split(found, ends)


def margins(model, data: Data) -> Margins:
  """Of pairs and ties."""
  found = np.stack(item_scores(model, data))
  outcomes = np.array([row.values["outcome"] for row in data.rows])
  return Margins((found[:, 0] - found[:, 1]).astype(np.float32), outcomes)


def fit_temperature(model, data: Data) -> float:
  """On held-out pairs that are decided; 1 without any."""
  found, labels = margins(model, data).decided()
  if not len(found):
    return 1.0
  fit = jax.jit(calibration.fit_temperature)
  return float(fit(jnp.asarray(found), jnp.asarray(labels)))


def measure(model, data: Data) -> Measures:
  """Everything that the report shows, from rows that were not trained on."""
  kind = "comparisons" if data.kind in COMPARISONS else data.kind
  return _MEASURES[kind](model, data)


def _comparisons(model, data: Data) -> Measures:
  found = margins(model, data)
  margin, labels = found.decided()
  right = _right(margin, labels)
  overall = {"accuracy": share(right)}
  kept = [row for row in data.rows if row.values["outcome"]]
  golds = [row.values.get("gold") for row in kept]
  gold = [(i, x) for i, x in enumerate(golds) if x]
  if gold:
    index = [i for i, _ in gold]
    truth = np.array([x > 0 for _, x in gold], np.float32)
    overall["accuracy on gold labels"] = share(_right(margin[index], truth))
  if model.config.loss.levels:
    overall |= _levels(model, data)
  temperature = model.about.temperature
  measured = jnp.asarray(margin), jnp.asarray(labels)
  for name, t in (("raw", 1.0), ("calibrated", temperature)):
    likelihood = jax.jit(calibration.negative_log_likelihood)
    losses = likelihood(*measured, temperature=t)
    overall[f"log loss, {name}"] = _mean(np.asarray(losses))
    error = float(_reliability(margin / t, right).expected_error)
    nan = float("nan")
    overall[f"calibration error, {name}"] = Found(error, nan, nan, len(margin))
  return Measures(
      overall,
      by_source(kept, right, share),
      _reliability(margin / temperature, right),
      temperature,
  )


def _levels(model, data: Data) -> dict[str, Found]:
  """Of items with a rating: is the mean grade in its level?"""
  o, names = model.config.loss, ("chosen_rating", "rejected_rating")
  rated = [
      (row, x, level)
      for row in data.rows
      for x, name in zip(row.items, names)
      if (level := level_of(o, row, name)) >= 0
  ]
  if not rated:
    return {}
  rows, items, truth = zip(*rated)
  users = [row.names.get("user") for row in rows]
  grades = model.members([row.prompt for row in rows], items, users=users)
  # Grades count from 1; a level ends half-way between two of them.
  found = (grades.mean(-1) - 0.5) // (o.grades // o.levels)
  return {"accuracy of levels": share(found == np.array(truth))}


def _right(margin, labels):
  return np.where(margin == 0, 0.5, (margin > 0) == (labels > 0.5))


def _reliability(margin, right) -> Reliability:
  """Of the favourite: its probability is 1/2 or more, its label `right`."""
  p = 1 / (1 + np.exp(-np.abs(margin)))
  return jax.jit(calibration.reliability)(
      jnp.asarray(p, jnp.float32), jnp.asarray(right, jnp.float32)
  )


def by_source(rows, values: np.ndarray, summary) -> dict[str, Found]:
  """The summary of each source's rows, where rows have sources."""
  names = np.array([row.names.get("source", "") for row in rows])
  known = sorted(set(names) - {""})
  return {name: summary(values[names == name]) for name in known}


def _ratings(model, data: Data) -> Measures:
  found = np.concatenate(item_scores(model, data))
  truth = np.array([row.values["rating"] for row in data.rows], np.float32)
  errors = np.abs(found - truth)
  rho = jax.jit(statistics.spearman)(jnp.asarray(found), jnp.asarray(truth))
  nan = float("nan")
  overall = {
      "absolute error": _mean(errors),
      "rank correlation": Found(float(rho), nan, nan, len(errors)),
  }
  return Measures(overall, by_source(data.rows, errors, _mean))


def _rankings(model, data: Data) -> Measures:
  values = []
  for row, scores in zip(data.rows, item_scores(model, data)):
    ranks = np.asarray(row.values["ranks"])
    better = ranks[:, None] < ranks[None, :]
    won = (scores[:, None] > scores[None, :]) + 0.5 * (
        scores[:, None] == scores[None, :]
    )
    values.append(won[better].mean() if better.any() else np.nan)
  values = np.array(values)
  summary = lambda x: _mean(x[np.isfinite(x)])
  overall = {"accuracy on pairs of a list": summary(values)}
  return Measures(overall, by_source(data.rows, values, summary))


def _steps(model, data: Data) -> Measures:
  scores = np.concatenate(item_scores(model, data))
  correct = np.array([row.values["correct"] for row in data.rows])
  area = jax.jit(agreement.auroc)(jnp.asarray(scores), jnp.asarray(correct))
  nan = float("nan")
  right = (scores > 0.5) == correct
  overall = {
      "accuracy on answers": share(right),
      "area under the curve": Found(float(area), nan, nan, len(scores)),
  }
  if model.config.loss.name == "prm":
    chains = [row.items for row in data.rows]
    found = model.score_steps([row.prompt for row in data.rows], chains)
    labels = np.concatenate([row.values["labels"] for row in data.rows])
    steps = (np.concatenate(found) > 0.5) == (labels > 0.5)
    overall["accuracy on steps"] = share(steps)
  return Measures(overall, by_source(data.rows, right, share))


_MEASURES: dict[str, Any] = {
    "comparisons": _comparisons,
    "ratings": _ratings,
    "rankings": _rankings,
    "steps": _steps,
}
