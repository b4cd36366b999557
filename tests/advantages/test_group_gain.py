"""What standardising maximises, and what it does to corrected rewards."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import group
from tests import variants

group = variants.programs(group)


@pytest.mark.parametrize(
    "n,expected",
    [
        (8, [2.4070, 2.1774, 1.8360, 1.7358, 2.1774]),
        (16, [3.4888, 2.7574, 2.0260, 1.8727, 2.7574]),
    ],
)
def test_standardization_gain_of_the_method_table(n, expected):
  rates = jnp.array([0.02, 0.1, 0.3, 0.5, 0.9])
  actual = group.standardization_gain(rates, n)
  np.testing.assert_allclose(actual, expected, atol=6e-5)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("n", [2, 3, 8])
def test_standardization_gain_by_listing_all_patterns(n, ddof):
  """E[A_1 (r_1 - q)] / (q (1 - q)) over the 2^n reward patterns."""
  patterns = np.array(list(itertools.product([0.0, 1.0], repeat=n)))
  advantages = group.standardized(jnp.array(patterns), epsilon=0.0, ddof=ddof)
  rates = (0.02, 0.3, 0.9)
  actual = group.standardization_gain(jnp.array(rates), n, ddof=ddof)
  for q, gain in zip(rates, actual):
    chance = np.prod(np.where(patterns > 0, q, 1 - q), axis=-1)
    score = (patterns[:, 0] - q) / (q * (1 - q))
    expected = np.sum(chance * score * np.asarray(advantages)[:, 0])
    np.testing.assert_allclose(gain, expected, rtol=2e-5)


def test_standardization_gain_at_the_ends_and_in_the_limit():
  # With q = 0 a lone success has A = (n - 1) / sqrt(n).
  ends = group.standardization_gain(jnp.array([0.0, 1.0]), 8)
  np.testing.assert_allclose(ends, 7 / np.sqrt(8), rtol=1e-5)
  many = group.standardization_gain(0.3, 4096)
  np.testing.assert_allclose(many, 1 / np.sqrt(0.3 * 0.7), rtol=2e-3)


def test_standardization_gain_refuses_what_cannot_be():
  with pytest.raises(ValueError, match="n must be in"):
    group.standardization_gain(0.5, 1)
  with pytest.raises(ValueError, match="success_rate must be in"):
    group.standardization_gain(1.5, 4)


# --- corrected rewards -------------------------------------------------------


def test_bernoulli_standardized_of_the_method_card():
  observed = jnp.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
  observed = observed.at[7].set(1.0)  # three of eight
  corrected = (observed - 0.1) / 0.7
  actual = group.bernoulli_standardized(corrected)
  np.testing.assert_allclose(jnp.mean(corrected), 0.392857, atol=1e-6)
  np.testing.assert_allclose(actual[0], 1.828181, rtol=1e-5)
  np.testing.assert_allclose(actual[1], -1.096909, rtol=1e-5)


@pytest.mark.parametrize(
    "p,clean,raw,denoised",
    [(0.3, 0.4539, 0.3154, 0.4607), (0.9, 0.2931, 0.1410, 0.3828)],
)
def test_bernoulli_standardized_against_sampling(p, clean, raw, denoised):
  """Cov(A, correctness), 64 samples, rates (0.1, 0.2), listed exactly.

  The expected numbers were sampled, to about half a percent, with ddof 0.
  """
  n, false_positive, youden = 64, 0.1, 0.7
  q, spread = false_positive + youden * p, p * (1 - p)
  observed = (np.arange(n)[None, :] < np.arange(n + 1)[:, None]).astype(float)
  corrected = jnp.array((observed - false_positive) / youden)
  advantages = np.asarray(group.bernoulli_standardized(corrected), np.float64)
  others = np.array([_binomial(n - 1, k, q) for k in range(n)])
  right = np.sum(others * advantages[1:, 0])  # own verdict 1, k others
  wrong = np.sum(others * advantages[:-1, -1])  # own verdict 0, k others
  close = lambda x, y: np.testing.assert_allclose(x, y, rtol=6e-3)
  close(youden * (right - wrong) * spread, denoised)
  gain = lambda rate: group.standardization_gain(rate, n, ddof=0) * spread
  close(gain(p), clean)
  close(youden * gain(q), raw)


def _binomial(n, k, q):
  return math.comb(n, k) * q**k * (1 - q) ** (n - k)


def test_bernoulli_standardized_stays_finite_when_all_agree():
  rewards = jnp.array([[1.0] * 4, [0.0] * 4])
  actual = group.bernoulli_standardized(rewards)
  # p is clipped to 7/8 and 1/8: A = (1/8) / sqrt(7/64).
  edge = (1 / 8) / np.sqrt(7 / 64)
  np.testing.assert_allclose(actual, [[edge] * 4, [-edge] * 4], rtol=1e-5)


def test_standardized_hides_an_affine_correction():
  """Constant rates within a group: the correction is provably a no-op."""
  observed = jnp.array([1.0, 0, 0, 1, 0, 0, 0, 1])
  corrected = (observed - 0.1) / 0.7
  np.testing.assert_allclose(
      group.standardized(corrected), group.standardized(observed), atol=1e-6
  )
  np.testing.assert_allclose(
      group.leave_one_out(observed)[:2], [0.714286, -0.428571], atol=1e-6
  )
  np.testing.assert_allclose(
      group.leave_one_out(corrected),
      group.leave_one_out(observed) * 1.428571,
      rtol=1e-5,
  )
