import numpy as np
import pytest
from scipy import stats

from rewardjax.training.intervals import mean_interval, mean_intervals


def test_two_values_by_hand():
  # mean 2, sd sqrt(2), half width t(0.975, 1) * sqrt(2) / sqrt(2).
  interval = mean_interval([1.0, 3.0])
  t = 12.706204736
  np.testing.assert_allclose(interval[:3], [2, 2 - t, 2 + t], rtol=1e-8)
  assert interval.n == 2


def test_agrees_with_scipy_whatever_is_missing():
  values = np.random.default_rng(0).normal(size=(7, 3))
  values[2, 1] = np.nan
  actual = mean_intervals(values, level=0.9)
  for j in range(3):
    column = values[np.isfinite(values[:, j]), j]
    low, high = stats.t.interval(
        0.9, column.size - 1, column.mean(), stats.sem(column)
    )
    np.testing.assert_allclose(actual[:, j], [column.mean(), low, high])


def test_covers_the_mean_as_often_as_it_says():
  values = np.random.default_rng(1).normal(3.0, 2.0, size=(5, 20_000))
  _, low, high = mean_intervals(values)
  covered = np.mean((low < 3.0) & (3.0 < high))
  assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 20_000)


def test_edges():
  alone = mean_interval([2.0])
  assert alone.mean == 2.0 and np.isnan(alone.low)
  assert str(alone) == "2.000 (n=1)"
  empty = mean_interval([np.nan])
  assert np.isnan(empty.mean) and empty.n == 0
  equal = mean_interval([4.0, 4.0, 4.0])
  assert equal == (4.0, 4.0, 4.0, 3) and str(equal) == "4.000 ± 0.000"
  with pytest.raises(ValueError, match=r"level must be in \(0, 1\), got 95"):
    mean_interval([1.0, 2.0], level=95.0)
