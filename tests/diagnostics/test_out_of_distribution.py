import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import out_of_distribution as ood
from tests import variants

ood = variants.programs(ood)

NAN = jnp.nan
ROWS = jax.random.normal(jax.random.key(0), (60, 3)) @ jnp.array(
    [[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.3, 4.0]]
) + jnp.array([[5.0, 0.0, -3.0]])


def test_reference_against_numpy():
  hidden = jnp.concatenate([ROWS, jnp.full((2, 3), NAN)])
  mask = jnp.arange(62) < 60
  reference = ood.fit_reference(hidden, mask, ridge=1e-3)
  rows = np.asarray(ROWS, np.float64)
  covariance = np.cov(rows.T, bias=True)
  covariance += 1e-3 * np.trace(covariance) / 3 * np.eye(3)
  np.testing.assert_allclose(reference.mean, rows.mean(0), rtol=1e-4)
  np.testing.assert_allclose(
      reference.factor @ reference.factor.T, covariance, rtol=1e-3, atol=1e-4
  )


@variants.every
def test_mahalanobis_against_numpy(variant):
  reference = ood.fit_reference(ROWS)
  x = jax.random.normal(jax.random.key(1), (2, 4, 3)) * 3
  actual = variant(lambda x: ood.mahalanobis(x, reference))(x)
  factor = np.asarray(reference.factor, np.float64)
  inverse = np.linalg.inv(factor @ factor.T)
  gap = np.asarray(x, np.float64) - np.asarray(reference.mean)
  expected = np.einsum("abi,ij,abj->ab", gap, inverse, gap)
  np.testing.assert_allclose(actual, expected, rtol=1e-3)


def test_distances_of_the_training_rows():
  reference = ood.fit_reference(ROWS, ridge=1e-6)
  inside = ood.mahalanobis(ROWS, reference)
  np.testing.assert_allclose(jnp.mean(inside), 3.0, rtol=1e-2)
  assert ood.mahalanobis(reference.mean, reference) < 1e-6
  far = ood.mahalanobis(reference.mean + 100.0, reference)
  assert far > jnp.max(inside)
  stretch = jnp.array([[1.0, 0.2, 0.0], [0.0, 30.0, 1.0], [0.0, 0.0, 0.1]])
  other = ood.fit_reference(ROWS @ stretch, ridge=1e-6)
  np.testing.assert_allclose(
      ood.mahalanobis(ROWS @ stretch, other), inside, rtol=0.1
  )


def test_equal_rows_and_fewer_rows_than_features():
  same = ood.fit_reference(jnp.ones((4, 3)))
  assert np.all(np.isfinite(ood.mahalanobis(jnp.zeros((2, 3)), same)))
  few = ood.fit_reference(ROWS[:2])
  slope = variants.grad(lambda x: jnp.sum(ood.mahalanobis(x, few)))(ROWS)
  assert np.all(np.isfinite(slope))
  nothing = ood.fit_reference(ROWS, jnp.zeros(60, bool))
  assert np.all(np.isfinite(ood.mahalanobis(ROWS, nothing)))


@variants.every
def test_centroid_distance_by_hand(variant):
  centroids = jnp.array([[0.0, 0.0], [3.0, 4.0]])
  x = jnp.array([[0.0, 0.0], [3.0, 0.0]])
  actual = variant(lambda x: ood.centroid_distance(x, centroids))(x)
  np.testing.assert_allclose(actual, [[0, 5], [3, 4]])
  slope = variants.grad(lambda x: ood.centroid_distance(x, centroids)[0])(x[0])
  np.testing.assert_array_equal(slope, 0.0)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="fit_reference: ridge must be in"):
    ood.fit_reference(ROWS, ridge=0.0)
  with pytest.raises(ValueError, match="'mask': \\(3,\\)"):
    ood.fit_reference(ROWS, jnp.ones(3, bool))
  with pytest.raises(ValueError, match="centroids must be \\[K, 3\\]"):
    ood.centroid_distance(ROWS, jnp.ones((2, 4)))
