import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from rewardjax.rewards import paired

NAN = jnp.nan
FIRST = jnp.array([[0.0, 1.0, -2.0], [3.0, 0.0, 0.0], [NAN, NAN, 0.0]])
SECOND = jnp.array([[1.0, 0.5, 0.0], [3.0, 0.0, 0.0], [NAN, 1.0, NAN]])
MASK = jnp.array([True, True, False])


def test_class_uncertainty_is_the_divergence_from_the_first():
  actual = jax.jit(paired.class_uncertainty)(FIRST, SECOND, MASK)
  p, q = (scipy.special.softmax(np.asarray(x, np.float64), -1)[0]
          for x in (SECOND, FIRST))
  expected = scipy.special.rel_entr(p, q).sum()
  np.testing.assert_allclose(actual, [expected, 0, 0], rtol=1e-5, atol=1e-7)
  # The direction matters.
  other = paired.class_uncertainty(SECOND, FIRST, MASK)
  assert abs(float(other[0]) - expected) > 1e-2
  twice = paired.class_uncertainty(FIRST, SECOND, MASK, scale=2.0)
  np.testing.assert_allclose(twice, 2 * actual, rtol=1e-6)


def test_uncertainty_is_never_negative():
  random = np.random.default_rng(0)
  first, second = (jnp.asarray(random.normal(size=(50, 4))) for _ in range(2))
  assert float(jnp.min(paired.class_uncertainty(first, second))) >= 0


def test_value_uncertainty_by_hand():
  first, second = jnp.array([1.0, 2.0, NAN]), jnp.array([3.5, 2.0, 1.0])
  actual = paired.value_uncertainty(first, second, MASK, scale=2.0)
  np.testing.assert_allclose(actual, [5.0, 0.0, 0.0])


def test_gradients_stay_finite_under_masks():
  total = lambda a, b: jnp.sum(paired.class_uncertainty(a, b, MASK))
  for slope in jax.grad(total, (0, 1))(FIRST, SECOND):
    assert np.all(np.isfinite(slope))
    np.testing.assert_array_equal(slope[2], 0.0)
  total = lambda a, b: jnp.sum(paired.value_uncertainty(a, b))
  one, two = jnp.array([1.0, 2.0]), jnp.array([3.5, 2.0])
  np.testing.assert_allclose(jax.grad(total)(one, two)[0], -1.0)


def test_names_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="class_uncertainty: .*'second'"):
    paired.class_uncertainty(FIRST, SECOND[:2])
  with pytest.raises(ValueError, match="value_uncertainty: .*'mask'"):
    paired.value_uncertainty(FIRST, SECOND, MASK)
