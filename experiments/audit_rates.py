"""Rates of an audited verifier: overall, per group, and whether they vary."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.noise import audits, homogeneity, precision
from rewardjax.noise.appeals import TRUSTED
from rewardjax.noise.homogeneity import Homogeneity
from rewardjax.noise.rates import RateEstimate, rogan_gladen
from rewardjax.types import NoiseRates

RATES = ("false_positive", "false_negative")
_DRAWS = 4000


class Sample(NamedTuple):
  """What is known of N rows; all arrays `[N]`."""

  observed: np.ndarray  # 0, 1, NaN unknown
  truth: np.ndarray  # 0, 1, NaN unknown
  clusters: np.ndarray | None  # ids; None: rows are independent
  weights: np.ndarray | None  # 1 / (chance of having been checked)

  def where(self, rows: np.ndarray) -> "Sample":
    """Those rows."""
    return Sample(*(None if x is None else x[rows] for x in self))


class Measured(NamedTuple):
  """What the rows of one group show; NaN and [0, 1] where nothing does."""

  name: str
  cells: np.ndarray  # [2, 2] rows by truth and verdict
  right: RateEstimate  # share of right answers
  false_positive: RateEstimate
  false_negative: RateEstimate
  youden: RateEstimate

  @property
  def rates(self) -> NoiseRates:
    """The point estimates."""
    return NoiseRates(self.false_positive.rate, self.false_negative.rate)


class Findings(NamedTuple):
  """All that an audit measures."""

  overall: Measured
  groups: list[Measured]
  equal: dict[str, Homogeneity]  # over groups, by name of the rate
  drift: dict[str, Homogeneity]  # over stretches of `--drift_by`


def measure(
    sample: Sample,
    *,
    groups: tuple[np.ndarray, Sequence[str]] | None = None,
    stretches: np.ndarray | None = None,
    trusted_rates: NoiseRates = TRUSTED,
    level: float = 0.95,
) -> Findings:
  """Rates with intervals, and tests that they are constant.

  Args:
    sample: all rows; those with an unknown verdict or truth are left out.
    groups: ids `[N]` and the names that they number; None for no groups.
    stretches: ids `[N]` of the parts between which rates may drift.
    trusted_rates: of what `truth` holds. Zeros: it is the truth. Else the
      rates are those behind its errors, which are taken as independent of
      the verifier's given the truth.
    level: of the intervals.
  """
  known = np.isfinite(sample.observed) & np.isfinite(sample.truth)
  sample = sample.where(known)

  def parts(ids, names):
    ids = ids[known]
    return [
        _measure_one(name, sample.where(ids == i), trusted_rates, level)
        for i, name in enumerate(names)
    ]

  overall = _measure_one("all", sample, trusted_rates, level)
  found = [] if groups is None else parts(*groups)
  moving = []
  if stretches is not None:
    names = [str(i) for i in range(int(stretches.max()) + 1)]
    moving = parts(stretches, names)
  test = lambda x: _test(x, trusted_rates, level) if len(x) > 1 else {}
  return Findings(overall, found, test(found), test(moving))


def _measure_one(name, sample, trusted_rates, level) -> Measured:
  truth, observed = sample.truth == 1, sample.observed == 1
  cells = np.zeros((2, 2), int)
  np.add.at(cells, (truth.astype(int), observed.astype(int)), 1)
  if any(trusted_rates):
    found = _behind_errors(sample, trusted_rates, level)
    return Measured(name, cells, *found)
  count = lambda errors, rows: precision.effective_counts(
      errors[rows], *(None if x is None else x[rows] for x in sample[2:])
  )
  everything = np.ones(truth.shape, bool)
  right, positive, negative = precision.wilson_of(
      [
          count(truth, everything),
          count(observed, ~truth),
          count(~observed, truth),
      ],
      level=level,
  )
  index = precision.youden_interval(positive, negative)
  return Measured(name, cells, right, positive, negative, index)


def _test(
    found: Sequence[Measured], trusted_rates: NoiseRates, level: float
) -> dict[str, Homogeneity]:
  width = 2 * statistics.NormalDist().inv_cdf(0.5 + level / 2)
  tests = {}
  for name in RATES:
    some = [getattr(x, name) for x in found]
    rate, low, high, count = np.array(some, float).T
    if any(trusted_rates):
      variance = np.where(count > 0, np.square((high - low) / width), np.nan)
      tests[name] = homogeneity.wald(rate, variance)
    else:
      errors = np.where(count > 0, rate * count, 0.0)
      nearest = np.round(errors)  # a whole number but for rounding
      errors = np.where(np.abs(errors - nearest) < 1e-9, nearest, errors)
      tests[name] = homogeneity.equal_rates(errors, count)
  return tests


def _behind_errors(
    sample: Sample, trusted_rates: NoiseRates, level: float
) -> list[RateEstimate]:
  """Right answers, both rates and J behind the errors of the trusted side.

  Intervals are those of a posterior: the four shares of (verdict, trusted
  label) are drawn from Dirichlet(n share + 1/2), n being the effective number
  of rows, and each draw is turned into rates.
  """
  if not len(sample.truth):
    return [RateEstimate(np.nan, 0.0, 1.0, 0.0)] * 3 + [
        RateEstimate(np.nan, -1.0, 1.0, 0.0)
    ]
  code = (2 * sample.observed + sample.truth).astype(int)
  shares = np.bincount(code, sample.weights, minlength=4)
  shares = shares / shares.sum()
  rows = [
      precision.effective_counts(code == i, *sample[2:]).total
      for i in range(4)
      if shares[i] > 0
  ]
  count = min(rows)
  draws = np.random.default_rng(0).dirichlet(count * shares + 0.5, _DRAWS)
  table = jnp.array(np.vstack([shares, draws]), jnp.float32)
  values = np.asarray(_turn(table, trusted_rates), float)  # [4, 1 + draws]
  tails = 0.5 * (1 - level), 0.5 * (1 + level)
  low, high = np.quantile(values[:, 1:], tails, axis=1)
  point = values[:, 0]
  low, high = np.minimum(low, point), np.maximum(high, point)
  right = point[0]
  counts = [count, count * (1 - right), count * right]
  counts.append(min(counts[1:]))
  return [
      RateEstimate(*map(float, x)) for x in zip(point, low, high, counts)
  ]


@jax.jit  # here, or every group would compile it anew
def _turn(table, trusted_rates):
  """[N, 4] shares to [4, N]: right answers, both rates, J."""
  observed = jnp.array([0.0, 0.0, 1.0, 1.0])
  accepted = jnp.array([0.0, 1.0, 0.0, 1.0])
  mask = jnp.ones(4, bool)

  def one(shares):
    found = audits.rates_from_rechecks(
        observed, accepted, mask, shares, judge_rates=trusted_rates
    )
    right = rogan_gladen(jnp.sum(shares * accepted), trusted_rates)
    return jnp.stack([right, *found, 1 - sum(found)])

  return jax.vmap(one, out_axes=1)(table)
