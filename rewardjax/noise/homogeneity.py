"""Is one error rate the same in every group? Tests on the host, in float64.

Where it is, and advantages are standardised, no correction can matter; where
it is not, one correction for all is the wrong one.
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from rewardjax.core import checks

Method = Literal["none", "exact", "permutation", "chi_square"]


class Homogeneity(NamedTuple):
  """A test that K rates are equal.

  statistic: Pearson's X^2, or Wald's.
  freedom: groups with samples, less one.
  p_value: the chance of a statistic as large if all rates are equal.
  method: where the p-value comes from; "none" where nothing could differ.
  """

  statistic: float
  freedom: int
  p_value: float
  method: Method


def equal_rates(
    errors: Float[np.ndarray, " K"],
    totals: Float[np.ndarray, " K"],
    *,
    max_tables: int = 100_000,
    num_permutations: int = 9_999,
    min_expected: float | int = 5,
    seed: int = 0,
) -> Homogeneity:
  """Whether K counts of errors fit one rate.

      X^2 = sum_k (e_k - n_k r)^2 / (n_k r (1 - r)),   r = sum e / sum n

  With every expected count at least `min_expected`, or counts that are not
  whole (effective ones), the p-value is that of the chi-square law: in the
  second case it is rough. Otherwise it is conditional on the sum of errors,
  under which the groups are random draws from one urn: exact, over all
  tables with these margins, if they are few, and else by random tables. Both
  keep their level at any sample size.

  Args:
    errors: samples that the verifier got wrong, per group.
    totals: samples, per group; groups without any are left out.
    max_tables: how many tables the exact test may list.
    num_permutations: random tables drawn beyond that.
    min_expected: of errors and non-errors, for the chi-square law.
    seed: of the random tables.

  Raises:
    ValueError: if shapes differ, or some errors are negative or beyond the
      total.
  """
  where = "equal_rates"
  checks.same_shape(where, errors=errors, totals=totals)
  if np.any(errors < 0) or np.any(errors > totals):
    raise ValueError(
        f"{where}: errors must be in [0, total], got {errors.tolist()} of "
        f"{totals.tolist()}."
    )
  errors, totals = errors[totals > 0], totals[totals > 0]
  freedom = max(len(totals) - 1, 0)
  if freedom == 0 or errors.sum() in (0, totals.sum()):
    return Homogeneity(0.0, freedom, 1.0, "none")
  observed = float(_statistic(errors, totals, errors.sum()))
  rate = errors.sum() / totals.sum()
  expected = totals.min() * min(rate, 1 - rate)
  whole = np.all(errors % 1 == 0) and np.all(totals % 1 == 0)
  if expected >= min_expected or not whole:
    p_value = _chi_square_above(observed, freedom)
    return Homogeneity(observed, freedom, p_value, "chi_square")
  errors, totals = errors.astype(int), totals.astype(int)
  # Sums of floats in another order: a tie must stay a tie.
  bar = observed * (1 - 1e-9) - 1e-12
  if count_tables(totals, int(errors.sum())) <= max_tables:
    p_value = _exact(errors, totals, bar)
    return Homogeneity(observed, freedom, p_value, "exact")
  draws = np.random.default_rng(seed).multivariate_hypergeometric(
      totals, int(errors.sum()), num_permutations, method="marginals"
  )
  beyond = np.sum(_statistic(draws, totals, errors.sum()) >= bar)
  p_value = float((1 + beyond) / (1 + num_permutations))
  return Homogeneity(observed, freedom, p_value, "permutation")


def _chi_square_above(statistic: float, freedom: int) -> float:
  # Not scipy.stats, which takes seconds to import.
  from scipy import special

  return float(special.chdtrc(freedom, statistic))


def _statistic(errors, totals, sum_errors):
  rate = sum_errors / totals.sum()
  gaps = np.square(errors - totals * rate) / (totals * rate * (1 - rate))
  return gaps.sum(-1)


def count_tables(totals: Int[np.ndarray, " K"], errors: int) -> int:
  """How many ways there are to spread `errors` over groups of these sizes."""
  ways = [1] + [0] * errors  # Python integers: no overflow
  for total in totals.tolist():
    sums = [0]
    for x in ways:
      sums.append(sums[-1] + x)
    ways = [
        sums[m + 1] - sums[max(m - total, 0)] for m in range(errors + 1)
    ]
  return ways[errors]


def list_tables(
    totals: Int[np.ndarray, " K"], errors: int
) -> Iterator[tuple[int, ...]]:
  """Every way to spread `errors` over groups of these sizes."""
  if len(totals) == 1:
    if errors <= totals[0]:
      yield (errors,)
    return
  rest = int(totals[1:].sum())
  for first in range(max(0, errors - rest), min(int(totals[0]), errors) + 1):
    for others in list_tables(totals[1:], errors - first):
      yield (first, *others)


def _exact(errors, totals, bar: float) -> float:
  """Mass of tables that are at least as far from one rate."""
  tables = np.array(list(list_tables(totals, int(errors.sum()))))
  log_factorial = np.array([math.lgamma(n + 1) for n in range(sum(totals) + 1)])
  choose = lambda n, k: (
      log_factorial[n] - log_factorial[k] - log_factorial[n - k]
  )
  log_mass = choose(totals, tables).sum(-1)
  log_mass -= choose(totals.sum(), errors.sum())
  far = _statistic(tables, totals, errors.sum()) >= bar
  return float(min(np.exp(log_mass)[far].sum(), 1.0))


def wald(
    rates: Float[np.ndarray, " K"], variances: Float[np.ndarray, " K"]
) -> Homogeneity:
  """Whether K estimates with known variances fit one number; for many samples.

      W = sum_k (r_k - m)^2 / v_k,   m = sum (r_k / v_k) / sum (1 / v_k)

  For rates that are no plain shares, such as those behind the verdicts of a
  judge who errs. Estimates that are not finite, or have no positive variance,
  are left out.
  """
  checks.same_shape("wald", rates=rates, variances=variances)
  known = np.isfinite(rates) & np.isfinite(variances) & (variances > 0)
  rates, variances = rates[known], variances[known]
  freedom = max(len(rates) - 1, 0)
  if freedom == 0:
    return Homogeneity(0.0, 0, 1.0, "none")
  middle = np.sum(rates / variances) / np.sum(1 / variances)
  statistic = float(np.sum(np.square(rates - middle) / variances))
  p_value = _chi_square_above(statistic, freedom)
  return Homogeneity(statistic, freedom, p_value, "chi_square")
