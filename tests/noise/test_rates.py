import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.test_util import check_grads

from rewardjax.noise import rates
from rewardjax.types import NoiseRates
from tests import variants
from tests.noise import exact

rates = variants.programs(rates)


@variants.every
def test_rogan_gladen_by_hand(variant):
  accepted = jnp.array([0.05, 0.22, 0.9, 0.01])
  correct = lambda x: rates.rogan_gladen(x, NoiseRates(0.05, 0.1))
  # (x - .05) / .85, kept in [0, 1].
  expected = [0, 0.2, 1, 0]
  np.testing.assert_allclose(variant(correct)(accepted), expected, atol=1e-7)


def test_rogan_gladen_undoes_the_judge():
  truth, judge = jnp.linspace(0, 1, 11), NoiseRates(0.3, 0.25)
  accepted = 0.3 + 0.45 * truth
  actual = rates.rogan_gladen(accepted, judge)
  np.testing.assert_allclose(actual, truth, atol=1e-6)


def test_rogan_gladen_of_a_judge_who_says_nothing_stays_finite():
  actual = rates.rogan_gladen(
      jnp.array([0.5, 0.52]), NoiseRates(jnp.array(0.5), jnp.array(0.5))
  )
  np.testing.assert_allclose(actual, [0, 0.4], atol=1e-6)


def test_rogan_gladen_gradients():
  def correct(x, j0, j1):
    return rates.rogan_gladen(
        jnp.asarray(x), NoiseRates(jnp.asarray(j0), jnp.asarray(j1))
    )

  arguments = (jnp.array([0.3, 0.5]), jnp.array(0.05), jnp.array(0.1))
  check_grads(jax.jit(correct), arguments, order=1, atol=1e-2, rtol=1e-2)
  clipped = jax.grad(lambda x: correct(x, 0.05, 0.1))(jnp.array(0.01))
  assert float(clipped) == 0


@variants.every
def test_rate_from_counts_by_hand(variant):
  errors, trials = jnp.array([0.0, 3.0]), jnp.array([0.0, 10.0])
  estimate = variant(rates.rate_from_counts)(errors, trials)
  # Nothing tried: the uniform prior. 3 of 10: Beta(4, 8).
  np.testing.assert_allclose(estimate.rate, [1 / 2, 1 / 3], rtol=1e-6)
  np.testing.assert_allclose(estimate.low, [0.025, 0.109263], atol=1e-6)
  np.testing.assert_allclose(estimate.high, [0.975, 0.609743], atol=1e-6)
  np.testing.assert_array_equal(estimate.count, [0, 10])


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
@pytest.mark.parametrize(
    "errors,trials", [(0, 5), (5, 5), (1, 1000), (37.5, 90.25), (4000, 9000)]
)
def test_beta_quantile_against_scipy(errors, trials, level):
  estimate = rates.rate_from_counts(
      errors, trials, alpha=0.5, beta=2.0, level=level
  )
  posterior = scipy.stats.beta(errors + 0.5, trials - errors + 2.0)
  expected = posterior.interval(level)
  np.testing.assert_allclose(
      [estimate.low, estimate.high], expected, rtol=1e-3, atol=1e-7
  )
  assert float(estimate.rate) == pytest.approx(posterior.mean(), rel=1e-5)


def test_credible_interval_covers_its_level():
  """Exactly, on average over rates drawn from the prior.

  For every count k of n the interval holds 95 % of the posterior, so that
  the chance of covering, integrated over rates, is .95 whatever n is.
  """
  n, p = 12, (np.arange(4000) + 0.5) / 4000
  estimate = rates.rate_from_counts(jnp.arange(n + 1.0), float(n))
  low, high = np.asarray(estimate.low), np.asarray(estimate.high)
  covered = (low <= p[:, None]) & (p[:, None] <= high)
  counts = scipy.stats.binom.pmf(np.arange(n + 1), n, p[:, None])
  assert np.mean(np.sum(counts * covered, -1)) == pytest.approx(0.95, abs=1e-3)


def test_wilson_bounds_solve_the_score_equation():
  """|k/n - p| = z sqrt(p (1 - p) / n) at both ends."""
  n, k = 40.0, jnp.array([1.0, 13.0, 39.0])
  estimate = rates.wilson(k, n, level=0.9)
  z = scipy.stats.norm.ppf(0.95)
  for bound in (estimate.low, estimate.high):
    distance = np.abs(estimate.rate - bound)
    np.testing.assert_allclose(
        distance, z * np.sqrt(bound * (1 - bound) / n), rtol=1e-4
    )


@variants.every
def test_wilson_at_the_edges(variant):
  errors = jnp.array([0.0, 0.0, 20.0, 7.0])
  trials = jnp.array([0.0, 20.0, 20.0, 20.0])
  estimate = variant(rates.wilson)(errors, trials)
  z2 = scipy.stats.norm.ppf(0.975) ** 2
  edge = z2 / (20 + z2)
  np.testing.assert_allclose(estimate.rate, [0, 0, 1, 0.35], rtol=1e-6)
  np.testing.assert_allclose(estimate.low[:3], [0, 0, 1 - edge], atol=1e-6)
  np.testing.assert_allclose(estimate.high[:3], [1, edge, 1], atol=1e-6)


@pytest.mark.parametrize("p", [0.02, 0.1, 0.5])
def test_wilson_coverage_by_enumeration(p):
  n = 100
  estimate = rates.wilson(jnp.arange(n + 1.0), float(n))
  covered = (np.asarray(estimate.low) <= p) & (p <= np.asarray(estimate.high))
  assert exact.binomial(n, p) @ covered > 0.92


def test_intervals_narrow_like_the_root_of_the_count():
  for interval in (rates.rate_from_counts, rates.wilson):
    widths = [
        float(interval(0.3 * n, n).high - interval(0.3 * n, n).low)
        for n in (100.0, 10_000.0)
    ]
    assert widths[0] / widths[1] == pytest.approx(10, rel=0.05)


def test_estimates_are_held():
  held = lambda errors: rates.rate_from_counts(errors, jnp.array(10.0)).low
  assert float(jax.grad(held)(jnp.array(3.0))) == 0


def test_rates_name_what_is_out_of_range():
  with pytest.raises(ValueError, match="rate_from_counts: level must be in .0"):
    rates.rate_from_counts(1, 2, level=1.0)
  with pytest.raises(ValueError, match="rate_from_counts: beta must be in .0"):
    rates.rate_from_counts(1, 2, beta=0.0)
  with pytest.raises(ValueError, match="wilson: level must be"):
    rates.wilson(1, 2, level=0.0)
  with pytest.raises(ValueError, match="rogan_gladen: false_positive must be"):
    rates.rogan_gladen(jnp.array(0.5), NoiseRates(1.5, 0.0))
