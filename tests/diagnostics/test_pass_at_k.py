import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import pass_at_k
from tests import variants

NAN = jnp.nan
CORRECT = jnp.array([[True, True, False, False, False, True]] * 2)
VALID = jnp.array([[True] * 5 + [False], [True] * 3 + [False] * 3])


@variants.every
def test_pass_at_k_by_hand(variant):
  actual = variant(lambda c, m: pass_at_k.pass_at_k(c, m, k=2))(CORRECT, VALID)
  # 1 - C(3, 2) / C(5, 2) = 0.7; one wrong of three: two draws must hit.
  np.testing.assert_allclose(actual, [0.7, 1.0], rtol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_pass_at_k_counts_all_subsets(k):
  for c in range(5):
    correct = jnp.arange(4) < c
    draws = itertools.combinations(np.asarray(correct), k)
    expected = np.mean([any(draw) for draw in draws])
    actual = pass_at_k.pass_at_k(correct, k=k)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_pass_at_k_is_unbiased_over_all_outcomes():
  """Sums over the 2^6 outcomes of six draws with success rate 0.3."""
  outcomes = jnp.array(list(itertools.product([False, True], repeat=6)))
  c = np.asarray(outcomes).sum(-1)
  weights = 0.3**c * 0.7 ** (6 - c)
  for k in (1, 3, 6):
    mean = np.sum(weights * np.asarray(pass_at_k.pass_at_k(outcomes, k=k)))
    np.testing.assert_allclose(mean, 1 - 0.7**k, rtol=1e-5)


def test_pass_at_k_needs_k_valid_samples():
  actual = pass_at_k.pass_at_k(CORRECT, VALID, k=4)
  np.testing.assert_allclose(actual, [1.0, np.nan], rtol=1e-6)
  nobody = jnp.zeros_like(VALID)
  assert jnp.all(jnp.isnan(pass_at_k.pass_at_k(CORRECT, nobody, k=1)))


def test_pass_at_k_for_many_samples():
  # C(n, k) itself would overflow float32.
  correct = jnp.arange(2000) < 1
  actual = pass_at_k.pass_at_k(correct, k=500)
  np.testing.assert_allclose(actual, 0.25, rtol=1e-3)


def test_pass_at_k_errors(no_jaxtyping):
  with pytest.raises(ValueError, match=r"pass_at_k: k must be in \[1, inf\]"):
    pass_at_k.pass_at_k(CORRECT, k=0)
  with pytest.raises(ValueError, match=r"'mask': \(6,\)"):
    pass_at_k.pass_at_k(CORRECT, VALID[0], k=1)


@variants.every
def test_coverage_by_hand(variant):
  p = jnp.array([[0.5, 0.25, NAN, 0.1], [1.0, 0.0, 0.3, NAN]])
  correct = jnp.array([[True, True, False, False], [True, True, False, False]])
  actual = variant(lambda p, c: pass_at_k.coverage(p, c, k=2))(p, correct)
  # Row 0: (3/4 + 7/16) / 2; row 1: one is certain, one impossible.
  np.testing.assert_allclose(actual, [19 / 32, 0.5], rtol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_coverage_lists_all_draws(k):
  p = np.array([0.5, 0.2, 0.2, 0.1])
  correct = np.array([True, False, True, True])
  expected = 0.0
  for draws in itertools.product(range(4), repeat=k):
    found = len(set(draws) & {0, 2, 3}) / 3
    expected += np.prod(p[list(draws)]) * found
  actual = pass_at_k.coverage(jnp.array(p), jnp.array(correct), k=k)
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_coverage_of_rare_items_keeps_its_digits():
  actual = pass_at_k.coverage(jnp.array([1e-9]), jnp.array([True]), k=8)
  np.testing.assert_allclose(actual, 8e-9, rtol=1e-5)
  half = pass_at_k.coverage(
      jnp.array([0.5], jnp.bfloat16), jnp.array([True]), k=1
  )
  assert half.dtype == jnp.float32 and half == 0.5


def test_coverage_gradient_and_nothing_correct():
  p = jnp.array([0.5, NAN, 1.0])
  correct = jnp.array([True, False, True])
  slope = jax.grad(lambda p: pass_at_k.coverage(p, correct, k=3))(p)
  # d/dp (1 - (1 - p)^3) / 2 = 3 (1 - p)^2 / 2.
  np.testing.assert_allclose(slope, [0.375, 0, 0], rtol=1e-6)
  nothing = jnp.zeros(3, bool)
  assert pass_at_k.coverage(p, nothing, k=3) == 0


def test_coverage_errors(no_jaxtyping):
  with pytest.raises(ValueError, match=r"coverage: k must be in \[1, inf\]"):
    pass_at_k.coverage(jnp.ones(2), jnp.ones(2, bool), k=0)
  with pytest.raises(ValueError, match=r"'correct': \(3,\)"):
    pass_at_k.coverage(jnp.ones(2), jnp.ones(3, bool), k=1)
