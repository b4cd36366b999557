import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import calibration
from tests import variants

calibration = variants.programs(calibration)

NAN = jnp.nan
P = jnp.array([0.9, 0.6, 0.62, 0.1, NAN, 1.0])
LABELS = jnp.array([1.0, 0.0, 1.0, 0.5, NAN, 1.0])
MASK = ~jnp.isnan(P)


@variants.every
def test_brier_by_hand(variant):
  lift = lambda x: jnp.stack([x, x])
  actual = variant(calibration.brier)(lift(P), lift(LABELS), lift(MASK))
  expected = [0.01, 0.36, 0.38**2, 0.16, 0, 0]
  np.testing.assert_allclose(actual, [expected] * 2, rtol=1e-5, atol=1e-8)


def test_brier_is_proper_and_its_gradient():
  """Over both outcomes of a label, the mean is least at the truth."""
  p = jnp.linspace(0.05, 0.95, 19)
  risk = 0.7 * calibration.brier(p, jnp.ones(19)) + 0.3 * calibration.brier(
      p, jnp.zeros(19)
  )
  np.testing.assert_allclose(p[jnp.argmin(risk)], 0.7, atol=1e-6)
  total = lambda p: jnp.sum(calibration.brier(p, LABELS, MASK))
  slope = variants.grad(total)(P)
  np.testing.assert_allclose(
      slope, jnp.where(MASK, 2 * (P - LABELS), 0.0), rtol=1e-6
  )


def test_reliability_by_hand():
  bins = calibration.reliability(P, LABELS, MASK, num_bins=5)
  np.testing.assert_allclose(bins.count, [1, 0, 0, 2, 2])
  expected = [0.1, 0, 0, 0.61, 0.95]
  np.testing.assert_allclose(bins.confidence, expected, rtol=1e-6)
  np.testing.assert_allclose(bins.frequency, [0.5, 0, 0, 0.5, 1.0])
  expected = (0.4 + 2 * 0.11 + 2 * 0.05) / 5
  np.testing.assert_allclose(bins.expected_error, expected, rtol=1e-5)
  np.testing.assert_allclose(bins.largest_error, 0.4, rtol=1e-6)


def test_edges_of_bins():
  # Exact in binary, so that they lie on the edges.
  p = jnp.array([0.0, 0.25, 0.5, 0.75, 1.0])
  bins = calibration.reliability(p, jnp.ones(5), num_bins=4)
  np.testing.assert_array_equal(bins.count, [1, 1, 1, 2])
  nothing = calibration.reliability(P, LABELS, jnp.zeros(6, bool))
  assert nothing.expected_error == 0 and nothing.largest_error == 0
  jitted = jax.jit(lambda *a: calibration.reliability(*a, num_bins=5))
  np.testing.assert_allclose(
      jitted(P, LABELS, MASK).expected_error,
      calibration.reliability(P, LABELS, MASK, num_bins=5).expected_error,
      rtol=1e-6,
  )


def test_calibrated_predictions_have_little_error():
  random = np.random.default_rng(0)
  p = random.random(40_000).astype(np.float32)
  labels = (random.random(40_000) < p).astype(np.float32)
  assert calibration.reliability(p, labels).expected_error < 0.02
  sure = p**3 / (p**3 + (1 - p) ** 3)
  assert calibration.reliability(sure, labels).expected_error > 0.1


_fit = jax.jit(calibration.fit_temperature)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 7.0])
def test_temperature_is_recovered_from_soft_labels(temperature):
  margins = 4 * np.random.default_rng(0).normal(size=50)
  labels = 1 / (1 + np.exp(-margins / temperature))
  hidden = np.append(margins, NAN)
  actual = _fit(hidden, np.append(labels, NAN), ~np.isnan(hidden))
  np.testing.assert_allclose(actual, temperature, rtol=1e-3)


def test_temperature_is_the_minimum_of_the_likelihood():
  random = np.random.default_rng(0)
  margins = 3 * random.normal(size=200)
  p = 1 / (1 + np.exp(-margins / 2))
  labels = 1.0 * (random.random(200) < p)
  best = calibration.fit_temperature(margins, labels)
  risk = lambda t: jnp.mean(
      calibration.negative_log_likelihood(margins, labels, temperature=t)
  )
  assert risk(best) <= min(risk(best * 1.03), risk(best / 1.03))
  np.testing.assert_allclose(variants.grad(risk)(best), 0.0, atol=1e-5)


def test_temperature_at_its_bounds():
  margins = jnp.array([1.0, 2.0])
  sure = calibration.fit_temperature(margins, jnp.ones(2))
  np.testing.assert_allclose(sure, 0.01, rtol=1e-4)
  wrong = calibration.fit_temperature(margins, jnp.zeros(2), high=50.0)
  np.testing.assert_allclose(wrong, 50.0, rtol=1e-4)


def test_likelihood_by_hand():
  actual = calibration.negative_log_likelihood(
      jnp.array([2.0, NAN]),
      jnp.array([0.75, 0.0]),
      jnp.array([True, False]),
      temperature=2.0,
  )
  p = 1 / (1 + np.exp(-1))
  expected = -0.75 * np.log(p) - 0.25 * np.log(1 - p)
  np.testing.assert_allclose(actual, [expected, 0.0], rtol=1e-6)


@variants.every
def test_risk_coverage_by_hand(variant):
  confidence = jnp.array([[0.9, 0.1, NAN, 0.5], [1.0, 1.0, 1.0, NAN]])
  errors = jnp.array([[0.0, 1.0, NAN, 1.0], [1.0, 0.0, 0.0, NAN]])
  mask = ~jnp.isnan(errors)
  curve = variant(calibration.risk_coverage)(confidence, errors, mask)
  np.testing.assert_allclose(
      curve.coverage, [[1 / 3, 2 / 3, 1, 1]] * 2, rtol=1e-6
  )
  # The second row is one tie: its order does not matter.
  np.testing.assert_allclose(
      curve.risk, [[0, 1 / 2, 2 / 3, 2 / 3], [1 / 3] * 4], rtol=1e-6
  )
  area = calibration.area_under_risk(curve, mask)
  np.testing.assert_allclose(area, [(1 / 2 + 2 / 3) / 3, 1 / 3], rtol=1e-5)


def test_perfect_and_worthless_confidence():
  errors = jnp.array([0.0, 0.0, 1.0, 1.0])
  good = calibration.risk_coverage(-errors, errors)
  np.testing.assert_allclose(good.risk, [0, 0, 1 / 3, 1 / 2], rtol=1e-6)
  flat = calibration.risk_coverage(jnp.zeros(4), errors)
  np.testing.assert_allclose(flat.risk, 0.5)
  assert calibration.area_under_risk(good) < calibration.area_under_risk(flat)
  unsure = calibration.risk_coverage(
      jnp.array([-jnp.inf, 0.0, 5.0]),
      jnp.array([1.0, 0.0, 9.0]),
      jnp.array([True, True, False]),
  )
  np.testing.assert_allclose(unsure.risk, [0.0, 0.5, 0.5])


def test_risk_gradient():
  confidence = jnp.array([0.9, NAN, 0.5])
  mask = jnp.array([True, False, True])
  slope = variants.grad(
      lambda e: calibration.risk_coverage(confidence, e, mask).risk[0]
  )(jnp.array([1.0, NAN, 3.0]))
  np.testing.assert_allclose(slope, [1.0, 0.0, 0.0])


def test_names_bad_arguments(no_jaxtyping):
  x = jnp.ones(3)
  with pytest.raises(ValueError, match="brier: .*'labels': \\(2,\\)"):
    calibration.brier(x, x[:2])
  with pytest.raises(ValueError, match="num_bins must be in"):
    calibration.reliability(x, x, num_bins=0)
  with pytest.raises(ValueError, match="fit_temperature: low must be in"):
    calibration.fit_temperature(x, x, low=2.0, high=1.0)
  with pytest.raises(ValueError, match="risk_coverage: expected one"):
    calibration.risk_coverage(x, x[:2])
