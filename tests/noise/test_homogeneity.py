import itertools
import math

import numpy as np
import pytest
from scipy import stats

from rewardjax.noise import homogeneity


def counts(*numbers):
  return np.asarray(numbers, float)


def test_statistic_by_hand():
  # r = 6/30: (1 - 2)^2 / 1.6 + (5 - 4)^2 / 3.2; the empty group is left out.
  found = homogeneity.equal_rates(counts(1, 0, 5), counts(10, 0, 20))
  assert found.statistic == pytest.approx(1 / 1.6 + 1 / 3.2)
  assert found.freedom == 1 and found.method == "exact"


@pytest.mark.parametrize("sizes", [(4, 3), (3, 3, 2), (5, 2, 2)])
def test_exact_p_value_is_that_of_all_relabellings(sizes):
  """Deals the errors out over the samples in every possible way."""
  group = np.repeat(np.arange(len(sizes)), sizes)
  num = sum(sizes)
  for errors in range(1, num):
    dealt = [
        np.bincount(group[list(chosen)], minlength=len(sizes))
        for chosen in itertools.combinations(range(num), errors)
    ]
    far = [
        homogeneity.equal_rates(x.astype(float), counts(*sizes)).statistic
        for x in dealt
    ]
    for table in {tuple(x) for x in dealt}:
      found = homogeneity.equal_rates(counts(*table), counts(*sizes))
      expected = np.mean(np.asarray(far) >= found.statistic - 1e-9)
      assert found.p_value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("sizes", [(4, 3), (6, 6), (3, 4, 2)])
def test_exact_test_never_exceeds_its_level(rate, sizes):
  """Sums the chance of every table at which the test says "unequal"."""
  size = {level: 0.0 for level in (0.01, 0.05, 0.2)}
  for table in itertools.product(*(range(n + 1) for n in sizes)):
    mass = math.prod(
        stats.binom.pmf(e, n, rate) for e, n in zip(table, sizes)
    )
    p_value = homogeneity.equal_rates(counts(*table), counts(*sizes)).p_value
    for level in size:
      size[level] += mass * (p_value <= level)
  for level, mass in size.items():
    assert mass <= level + 1e-12
  assert size[0.2] > 0.002  # and it does say so at times


def test_two_equal_groups_are_fishers_exact_test():
  table = np.array([[1, 8], [6, 3]])
  found = homogeneity.equal_rates(counts(1, 6), counts(9, 9))
  expected = stats.fisher_exact(table).pvalue
  assert found.p_value == pytest.approx(expected)


def test_random_tables_agree_with_the_exact_ones():
  arguments = counts(1, 6, 2), counts(9, 9, 9)
  exact = homogeneity.equal_rates(*arguments)
  drawn = homogeneity.equal_rates(*arguments, max_tables=1)
  assert (exact.method, drawn.method) == ("exact", "permutation")
  # Five standard errors of a share of 9999.
  assert drawn.p_value == pytest.approx(exact.p_value, abs=0.012)
  assert drawn == homogeneity.equal_rates(*arguments, max_tables=1)


def test_large_counts_follow_the_chi_square_law():
  errors, totals = counts(30, 45, 20), counts(200, 180, 150)
  found = homogeneity.equal_rates(errors, totals)
  expected = stats.chi2_contingency(
      [errors, totals - errors], correction=False
  )
  assert found.method == "chi_square"
  assert found.statistic == pytest.approx(expected.statistic)
  assert found.p_value == pytest.approx(expected.pvalue)


def test_counts_that_are_not_whole_follow_the_chi_square_law():
  found = homogeneity.equal_rates(counts(1.5, 0.5), counts(4, 4))
  assert found.method == "chi_square"
  assert found.p_value == pytest.approx(stats.chi2.sf(found.statistic, 1))


def test_tables_are_counted_as_they_are_listed():
  for totals, errors in (((3, 4, 2), 5), ((1, 1), 2), ((7,), 3), ((2, 0), 1)):
    sizes = np.array(totals)
    listed = list(homogeneity.list_tables(sizes, errors))
    assert len(listed) == homogeneity.count_tables(sizes, errors)
    assert all(sum(table) == errors for table in listed)
  large = np.full(20, 100)
  assert homogeneity.count_tables(large, 300) > 10**20  # no overflow


@pytest.mark.parametrize(
    "errors, totals, freedom",
    [((0, 0), (5, 5), 1), ((5, 5), (5, 5), 1), ((2,), (5,), 0), ((), (), 0)],
)
def test_nothing_that_could_differ(errors, totals, freedom):
  found = homogeneity.equal_rates(counts(*errors), counts(*totals))
  assert found == (0.0, freedom, 1.0, "none")


def test_wald_by_hand():
  # Two rates: the square of their z score.
  found = homogeneity.wald(
      counts(0.2, 0.5, math.nan, 0.3), counts(0.01, 0.04, 0.01, 0.0)
  )
  z = (0.5 - 0.2) / math.sqrt(0.05)
  assert found.statistic == pytest.approx(z**2) and found.freedom == 1
  assert found.p_value == pytest.approx(2 * stats.norm.sf(z))
  assert homogeneity.wald(counts(0.2), counts(0.01)).method == "none"


def test_errors_name_what_does_not_fit(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'totals': \(3,\)"):
    homogeneity.equal_rates(counts(1, 2), counts(3, 4, 5))
  with pytest.raises(ValueError, match=r"errors must be in \[0, total\]"):
    homogeneity.equal_rates(counts(4, 2), counts(3, 4))
