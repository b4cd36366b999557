import itertools

import numpy as np
import pytest
from scipy import stats

from rewardjax.training.intervals import (
    interquartile_mean,
    probability_of_improvement,
    stratified_bootstrap,
)


def test_the_interquartile_mean_by_hand():
  assert interquartile_mean([9.0, 1.0, 2.0, -50.0]) == 1.5
  assert interquartile_mean([5.0, 1.0, 3.0]) == 3.0  # nothing to leave out
  assert interquartile_mean([[0.0, 1.0], [2.0, 100.0]]) == 1.5


@pytest.mark.parametrize("n", [1, 4, 5, 7, 8, 23])
def test_the_interquartile_mean_is_the_trimmed_mean_of_scipy(n):
  scores = np.random.default_rng(n).normal(size=n)
  expected = stats.trim_mean(scores, 0.25)
  np.testing.assert_allclose(interquartile_mean(scores), expected)


@pytest.mark.parametrize("scores", [[], [1.0, np.nan]])
def test_the_interquartile_mean_needs_finite_scores(scores):
  with pytest.raises(ValueError, match="scores must be finite, and some"):
    interquartile_mean(scores)


def test_improvement_by_hand():
  # 3 beats both, 1 ties with 1 and loses to 2: (2 + 0.5) / 4.
  assert probability_of_improvement([3.0, 1.0], [1.0, 2.0]) == 0.625
  # The mean of one task that is always won and one that never is.
  ours, theirs = [[1.0, 0.0]], [[0.0, 1.0], [0.5, 2.0], [0.0, 3.0]]
  assert probability_of_improvement(ours, theirs) == 0.5


def test_improvement_is_the_statistic_of_mann_and_whitney():
  rng = np.random.default_rng(0)
  x, y = rng.integers(0, 4, 9), rng.integers(0, 4, 6)
  expected = stats.mannwhitneyu(x, y).statistic / (9 * 6)
  np.testing.assert_allclose(probability_of_improvement(x, y), expected)
  both = probability_of_improvement(x, y) + probability_of_improvement(y, x)
  np.testing.assert_allclose(both, 1)


def test_improvement_compares_the_same_tasks():
  with pytest.raises(ValueError, match=r"\(3, 2\) and \(3, 4\)"):
    probability_of_improvement(np.ones((3, 2)), np.ones((3, 4)))


def test_the_bootstrap_against_all_resamples():
  """Two strata of three runs: 27 x 27 resamples, each as likely."""
  scores = np.array([[0.0, 10.0], [1.0, 30.0], [5.0, 31.0]])
  columns = [
      [np.mean(x) for x in itertools.product(column, repeat=3)]
      for column in scores.T
  ]
  means = [np.mean(pair) for pair in itertools.product(*columns)]
  low, high = np.quantile(means, (0.1, 0.9))
  found = stratified_bootstrap(
      np.mean, scores, level=0.8, num_resamples=6_000
  )
  np.testing.assert_allclose(found.mean, scores.mean())
  # Between neighbours of the discrete distribution.
  np.testing.assert_allclose((found.low, found.high), (low, high), atol=0.2)
  assert found.n == 3
  # Not what drawing whole rows would give.
  rows = [np.mean(x, 0) for x in itertools.product(scores, repeat=3)]
  joint = np.quantile(np.mean(rows, 1), 0.1)
  assert abs(found.low - joint) > 0.4


def test_the_bootstrap_draws_every_sample_anew():
  x, y = np.array([0.0, 1.0]), np.array([0.0, 1.0, 2.0])
  found = stratified_bootstrap(
      lambda a, b: np.mean(a) - np.mean(b), x, y, num_resamples=6_000
  )
  pairs = itertools.product(
      itertools.product(x, repeat=2), itertools.product(y, repeat=3)
  )
  all_of_them = [np.mean(a) - np.mean(b) for a, b in pairs]
  low, high = np.quantile(all_of_them, (0.025, 0.975))
  np.testing.assert_allclose(found[1:3], (low, high), atol=0.17)
  assert found.n == 2


def test_the_bootstrap_is_repeatable_and_covers():
  rng = np.random.default_rng(0)
  scores = rng.normal(size=20)
  first = stratified_bootstrap(np.mean, scores, num_resamples=200)
  assert first == stratified_bootstrap(np.mean, scores, num_resamples=200)
  assert first != stratified_bootstrap(
      np.mean, scores, num_resamples=200, seed=1
  )
  hits = 0
  for x in rng.normal(size=(300, 20)):
    found = stratified_bootstrap(np.mean, x, num_resamples=100)
    hits += found.low < 0 < found.high
  assert 0.86 < hits / 300 < 0.98  # a little too narrow for 20 runs


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(level=1.0), "level must be in"),
        (dict(num_resamples=0), "num_resamples must be in"),
    ],
)
def test_wrong_options_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    stratified_bootstrap(np.mean, [1.0], **options)
