"""What the curves of a tournament say of each recipe under each verifier."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import ml_collections as mlc
import numpy as np

from rewardjax.training.figures import Curve
from rewardjax.training.intervals import (
    Interval,
    interquartile_mean,
    mean_interval,
    probability_of_improvement,
    stratified_bootstrap,
)

Arm = tuple[str, str]  # recipe, verifier
IQM = "interquartile mean of the accuracy"
IMPROVES = "probability of improvement"
REACHED = "share of runs that reach it"


class Summary(NamedTuple):
  """Numbers of a tournament."""

  arms: dict[Arm, dict[str, Interval]]  # by metric
  carried: Interval  # rank correlation of clean and noisy
  start: Interval  # accuracy of the policy that all arms start from


def samples_name(threshold: float) -> str:
  return f"samples until {threshold:g}"


def samples_to(
    curve: Curve, threshold: float, samples_per_step: int
) -> tuple[np.ndarray, np.ndarray]:
  """Completions drawn until an accuracy is logged, and whether it ever is.

  Returns:
    Counts `[S]`, the whole budget for seeds that do not get there, and
    flags `[S]`. The resolution is that of the log.
  """
  above = curve.values >= threshold
  reached = above.any(1)
  first = np.where(reached, above.argmax(1), above.shape[1] - 1)
  return np.asarray(curve.steps)[first] * samples_per_step, reached


def rank_correlation(scores: np.ndarray) -> float:
  """Spearman's, of interquartile means of clean and noisy, `[S, R, 2]`."""
  from scipy import stats

  means = np.apply_along_axis(interquartile_mean, 0, scores)
  if len(means) < 2 or np.any(np.ptp(means, axis=0) == 0):
    return 0.0  # nothing is ordered
  return float(stats.spearmanr(means[:, 0], means[:, 1]).statistic)


def summarize(
    config: mlc.ConfigDict, curves: Mapping[Arm, Mapping[str, Curve]]
) -> Summary:
  """Intervals over seeds of every metric of every arm."""
  o = config.tournament
  bootstrap = functools.partial(
      stratified_bootstrap, num_resamples=o.num_resamples
  )
  final = {arm: x["accuracy"].values[:, -1] for arm, x in curves.items()}
  found = {}
  for (recipe, verifier), curve in curves.items():
    arm = (recipe, verifier)
    rows = {IQM: bootstrap(interquartile_mean, final[arm])}
    if recipe != o.baseline:
      rows[IMPROVES] = bootstrap(
          probability_of_improvement, final[arm], final[o.baseline, verifier]
      )
    found[arm] = rows | _means(config, curve)
  verifiers = list(dict.fromkeys(verifier for _, verifier in curves))
  scores = np.stack([
      np.stack([final[recipe, x] for x in verifiers], -1)
      for recipe in o.recipes
  ], 1)
  start = next(iter(curves.values()))["accuracy"].values[:, 0]
  carried = bootstrap(rank_correlation, scores)
  return Summary(found, carried, mean_interval(start))


def _means(config, curves) -> dict[str, Interval]:
  """Student's t intervals of the other metrics of one arm."""
  o = config.tournament
  rows = {"accuracy": mean_interval(curves["accuracy"].values[:, -1])}
  for k in config.evaluation.pass_at:
    last = curves[f"pass_at_{k}"].values[:, -1]
    rows[f"pass@{k}"] = mean_interval(last)
  rows["entropy"] = mean_interval(curves["entropy"].values[:, -1])
  per_step = config.sampling.batch_size * config.sampling.group_size
  samples, reached = samples_to(curves["accuracy"], o.threshold, per_step)
  rows[samples_name(o.threshold)] = mean_interval(samples)
  rows[REACHED] = Interval(
      float(reached.mean()), *[float(reached.mean())] * 2, len(reached)
  )
  return rows


def has_passed(summary: Summary) -> bool:
  """The criterion of `configs/tournament/rlvr.py`."""
  return bool(summary.carried.low > 0)
