import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from rewardjax.noise import channels, classes, corrections
from rewardjax.types import NoiseRates
from tests import variants
from tests.noise import exact

channels = variants.programs(channels)
classes = variants.programs(classes)
corrections = variants.programs(corrections)

THREE = np.array([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.05, 0.25, 0.7]])
GRADES = np.array([0.0, 0.5, 1.0])
BOTH = jnp.stack([jnp.asarray(THREE, jnp.float32), jnp.eye(3)])


@variants.every
def test_backward_values_by_hand(variant):
  grades = jnp.array([[0.0, 0.5, 1.0], [3.0, 2.0, 1.0]])
  actual = variant(classes.backward_values)(BOTH, grades)
  # Row 1: without noise the values stay as they are.
  expected = [[-0.170659, 0.488024, 1.266467], [3, 2, 1]]
  np.testing.assert_allclose(actual, expected, atol=2e-6)


@variants.every
def test_class_variance_by_hand(variant):
  corrected = jnp.array([[-0.170659, 0.488024, 1.266467], [3.0, 2.0, 1.0]])
  actual = variant(classes.class_variance)(BOTH, corrected)
  expected = [[0.139222, 0.103840, 0.183755], [0, 0, 0]]
  np.testing.assert_allclose(actual, expected, atol=2e-6)


@variants.every
def test_backward_residual_by_hand(variant):
  grades = jnp.array([[0.0, 0.5, 1.0], [3.0, 2.0, 1.0]])
  corrected = jnp.array([[0.0, 0.5, 1.0], [3.0, 2.5, 1.0]])
  actual = variant(classes.backward_residual)(BOTH, grades, corrected)
  # T grades = (.125, .5, .825): off by .125, 0, .175.
  np.testing.assert_allclose(actual, [0.175, 0.5], rtol=1e-5)


def _solve(ridge):
  return exact.in_float64(
      lambda t, v: classes.backward_values(t, v, ridge=ridge), THREE, GRADES
  )


def test_backward_values_are_unbiased_for_every_true_class():
  corrected = _solve(0.0)
  np.testing.assert_allclose(THREE @ corrected, GRADES, atol=1e-12)
  assert np.linalg.det(THREE) == pytest.approx(0.4175, abs=1e-10)
  variance = exact.in_float64(classes.class_variance, THREE, corrected)
  np.testing.assert_allclose(
      variance, THREE @ corrected**2 - GRADES**2, atol=1e-12
  )


def test_ridge_trades_bias_for_variance():
  corrected = _solve(0.1)
  np.testing.assert_allclose(
      corrected, [-0.122811, 0.485181, 1.050753], atol=1e-6
  )
  bias = THREE @ corrected - GRADES
  np.testing.assert_allclose(bias, [0.0271, -0.0191, -0.1493], atol=5e-5)
  normal = THREE.T @ THREE + 0.1 * np.eye(3)
  direct = np.linalg.solve(normal, THREE.T @ GRADES)
  np.testing.assert_allclose(corrected, direct, atol=1e-12)
  residual = exact.in_float64(
      classes.backward_residual, THREE, GRADES, corrected
  )
  assert residual == pytest.approx(np.max(np.abs(bias)), rel=1e-9)
  variances = [
      exact.in_float64(classes.class_variance, THREE, values)
      for values in (corrected, _solve(0.0))
  ]
  assert np.all(variances[0] < variances[1])


def test_singular_transition_reports_its_bias():
  """Classes 0 and 1 look alike: the best is their mean, off by 1/4."""
  singular = jnp.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
  grades = jnp.asarray(GRADES, jnp.float32)
  corrected = classes.backward_values(singular, grades)
  np.testing.assert_allclose(corrected, [0.25, 0.25, 1], atol=1e-6)
  residual = classes.backward_residual(singular, grades, corrected)
  assert float(residual) == pytest.approx(0.25, abs=1e-6)


def test_two_classes_are_the_binary_correction():
  rates = NoiseRates(0.1, 0.2)
  transition = channels.binary_transition(rates)
  actual = classes.backward_values(transition, jnp.array([0.0, 1.0]))
  expected = corrections.backward_reward(jnp.array([0.0, 1.0]), rates)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_aligned_weights_are_affine_in_backward_values():
  """T 1 = 1: scaled to spread 1 and top 0 they are bounded forward weights."""
  corrected = _solve(0.0)
  weights = (corrected - corrected[-1]) / (corrected[-1] - corrected[0])
  np.testing.assert_allclose(weights, [-1, -0.541667, 0], atol=1e-6)
  scale = 1 / (corrected[-1] - corrected[0])
  mean = THREE @ weights
  np.testing.assert_allclose(mean - mean[0], scale * GRADES, atol=1e-12)


def test_uniform_errors_leave_grades_affine():
  """A verdict replaced at random, .3 of the time: (grade - .15) / .7."""
  transition = 0.7 * np.eye(3) + 0.3 * np.full((3, 3), 1 / 3)
  corrected = exact.in_float64(classes.backward_values, transition, GRADES)
  np.testing.assert_allclose(corrected, (GRADES - 0.15) / 0.7, atol=1e-12)


def test_backward_values_estimate_grades_drawn_through_the_channel():
  """Five standard errors, 100,000 draws of each class."""
  truth = jnp.repeat(jnp.arange(3), 100_000)
  transition = jnp.asarray(THREE, jnp.float32)
  observed = channels.draw_class(jax.random.key(0), truth, transition)
  corrected = classes.backward_values(transition, jnp.asarray(GRADES, float))
  means = jnp.mean(corrected[observed].reshape(3, -1), -1)
  deviation = np.sqrt([0.139222, 0.103840, 0.183755]) / np.sqrt(100_000)
  assert np.all(np.abs(means - GRADES) < 5 * deviation)


def test_one_table_of_values_serves_many_transitions():
  grades = jnp.array([0.0, 0.5, 1.0])
  actual = classes.backward_values(BOTH, grades)
  for row, transition in zip(actual, BOTH):
    np.testing.assert_allclose(
        row, classes.backward_values(transition, grades), atol=1e-6
    )


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_backward_values_differentiate(ridge):
  def solve(transition, values):
    return classes.backward_values(
        jnp.asarray(transition), jnp.asarray(values), ridge=ridge
    )

  with jax.enable_x64(True):
    arguments = jnp.asarray(THREE), jnp.asarray(GRADES)
    check_grads(jax.jit(solve), arguments, order=1)


def test_classes_accept_bfloat16():
  transition = jnp.eye(2, dtype=jnp.bfloat16)
  actual = classes.backward_values(transition, jnp.ones(2, jnp.bfloat16))
  assert actual.dtype == jnp.float32
  np.testing.assert_allclose(actual, [1, 1], rtol=1e-6)


def test_classes_name_what_does_not_fit(no_jaxtyping):
  with pytest.raises(ValueError, match=r"transition must be square, got"):
    classes.backward_values(jnp.ones((2, 3)), jnp.ones(3))
  with pytest.raises(ValueError, match="backward_values: values must broadca"):
    classes.backward_values(jnp.eye(2), jnp.ones(3))
  with pytest.raises(ValueError, match="ridge must be in .0, inf., got -1"):
    classes.backward_values(jnp.eye(2), jnp.ones(2), ridge=-1.0)
