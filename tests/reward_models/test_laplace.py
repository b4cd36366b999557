import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.reward_models import laplace
from tests import variants

laplace = variants.programs(laplace)

NAN = jnp.nan
D = jnp.array([[1.0, 0.5], [-0.3, 2.0], [0.8, -0.1], [NAN, NAN]])
MASK = jnp.array([True, True, True, False])
W = jnp.array([0.7, -0.4])
s = lambda x: 1 / (1 + np.exp(-x))


def precision(d, w, prior):
  p = s(d @ w)
  return prior * np.eye(len(w)) + (d * (p * (1 - p))[:, None]).T @ d


def test_precision_is_the_curvature_of_loss_and_prior():
  posterior = laplace.fit(W, D, MASK, prior_precision=2.0)
  d = np.asarray(D[:3], np.float64)
  expected = precision(d, np.asarray(W, np.float64), 2.0)
  actual = posterior.factor @ posterior.factor.T
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)

  def energy(w):
    m = D[:3] @ w
    return jnp.sum(jax.nn.softplus(-m)) + jnp.vdot(w, w)

  np.testing.assert_allclose(jax.hessian(energy)(W), expected, rtol=1e-5)


@variants.every
def test_variance_by_hand(variant):
  posterior = laplace.fit(W, D, MASK, prior_precision=2.0)
  x = jax.random.normal(jax.random.key(0), (2, 3, 2))
  actual = variant(lambda x: laplace.variance(posterior, x))(x)
  inverse = np.linalg.inv(
      precision(np.asarray(D[:3], float), np.asarray(W, float), 2.0)
  )
  expected = np.einsum("abi,ij,abj->ab", x, inverse, x)
  np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_no_pairs_leave_the_prior():
  nothing = jnp.zeros(4, bool)
  posterior = laplace.fit(W, D, nothing, prior_precision=4.0)
  x = jnp.array([[3.0, 4.0]])
  np.testing.assert_allclose(
      laplace.variance(posterior, x), [25 / 4], rtol=1e-6
  )


def test_more_pairs_are_surer_and_untested_directions_are_not():
  d = jnp.broadcast_to(jnp.array([1.0, 0.0]), (50, 2))
  few = laplace.fit(W, d[:5], prior_precision=1.0)
  many = laplace.fit(W, d, prior_precision=1.0)
  tested, untested = jnp.eye(2)
  assert laplace.variance(many, tested) < laplace.variance(few, tested)
  np.testing.assert_allclose(laplace.variance(many, untested), 1.0, rtol=1e-6)


def test_reward_subtracts_deviations():
  posterior = laplace.fit(W, D, MASK, prior_precision=2.0)
  x = jnp.array([[1.0, 2.0], [0.0, 0.0]])
  mean = x @ W
  np.testing.assert_allclose(
      laplace.reward(posterior, x, coefficient=0.0), mean, atol=1e-6
  )
  spread = jnp.sqrt(laplace.variance(posterior, x))
  np.testing.assert_allclose(
      laplace.reward(posterior, x, coefficient=1.5), mean - 1.5 * spread,
      rtol=1e-5, atol=1e-6,
  )
  slope = variants.grad(
      lambda x: jnp.sum(laplace.reward(posterior, x, coefficient=1.0))
  )(x)
  assert np.all(np.isfinite(slope))


def test_integrated_log_odds_against_quadrature():
  posterior = laplace.fit(W, D, MASK, prior_precision=0.5)
  x = jnp.array([[1.0, 2.0], [-3.0, 1.0], [0.1, 0.0]])
  actual = jax.nn.sigmoid(laplace.win_log_odds(posterior, x))
  z = np.linspace(-8, 8, 4001)
  density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
  for i in range(3):
    std = float(laplace.variance(posterior, x[i])) ** 0.5
    mean = float(x[i] @ W)
    expected = np.sum(density * s(mean + std * z))
    np.testing.assert_allclose(actual[i], expected, atol=0.01)
    assert abs(float(actual[i]) - 0.5) <= abs(s(mean) - 0.5)


def test_evidence_against_quadrature():
  """One weight and many pairs: there the posterior is nearly Gaussian."""
  d = jax.random.normal(jax.random.key(0), (80, 1)) + 0.5
  hidden = jnp.concatenate([d, jnp.array([[NAN]])])
  grid = np.linspace(-4, 8, 6001)
  margins = grid[:, None] * np.asarray(d)[:, 0]
  log_likelihood = -np.log1p(np.exp(-margins)).sum(1)
  for prior in (0.1, 3.0):
    log_joint = log_likelihood - prior * grid**2 / 2
    best = grid[np.argmax(log_joint)]
    density = np.exp(log_joint - log_joint.max())
    integral = np.log(density.sum() * (grid[1] - grid[0])) + log_joint.max()
    expected = integral + 0.5 * np.log(prior / (2 * np.pi))
    posterior = laplace.fit(
        jnp.array([best]),
        hidden,
        jnp.arange(81) < 80,
        prior_precision=prior,
    )
    np.testing.assert_allclose(posterior.log_evidence, expected, atol=0.05)


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="fit: prior_precision must be in"):
    laplace.fit(W, D, MASK, prior_precision=0.0)
  with pytest.raises(ValueError, match="'features': \\(2,\\)"):
    laplace.fit(jnp.ones(3), D, prior_precision=1.0)
  with pytest.raises(ValueError, match="reward: coefficient must be in"):
    laplace.reward(
        laplace.fit(W, D, MASK, prior_precision=1.0), D, coefficient=-1.0
    )
