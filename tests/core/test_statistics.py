import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import statistics
from tests import variants

NAN = jnp.nan
CORRECT = jnp.array([[True, True, False, False, False, True]] * 2)
VALID = jnp.array([[True] * 5 + [False], [True] * 3 + [False] * 3])


@variants.every
def test_pass_at_k_by_hand(variant):
  actual = variant(lambda c, m: statistics.pass_at_k(c, m, k=2))(CORRECT, VALID)
  # 1 - C(3, 2) / C(5, 2) = 0.7; one wrong of three: two draws must hit.
  np.testing.assert_allclose(actual, [0.7, 1.0], rtol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_pass_at_k_counts_all_subsets(k):
  for c in range(5):
    correct = jnp.arange(4) < c
    draws = itertools.combinations(np.asarray(correct), k)
    expected = np.mean([any(draw) for draw in draws])
    actual = statistics.pass_at_k(correct, k=k)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_pass_at_k_is_unbiased_over_all_outcomes():
  """Sums over the 2^6 outcomes of six draws with success rate 0.3."""
  outcomes = jnp.array(list(itertools.product([False, True], repeat=6)))
  c = np.asarray(outcomes).sum(-1)
  weights = 0.3**c * 0.7 ** (6 - c)
  for k in (1, 3, 6):
    mean = np.sum(weights * np.asarray(statistics.pass_at_k(outcomes, k=k)))
    np.testing.assert_allclose(mean, 1 - 0.7**k, rtol=1e-5)


def test_pass_at_k_needs_k_valid_samples():
  actual = statistics.pass_at_k(CORRECT, VALID, k=4)
  np.testing.assert_allclose(actual, [1.0, np.nan], rtol=1e-6)
  nobody = jnp.zeros_like(VALID)
  assert jnp.all(jnp.isnan(statistics.pass_at_k(CORRECT, nobody, k=1)))


def test_pass_at_k_for_many_samples():
  # C(n, k) itself would overflow float32.
  correct = jnp.arange(2000) < 1
  actual = statistics.pass_at_k(correct, k=500)
  np.testing.assert_allclose(actual, 0.25, rtol=1e-3)


def test_pass_at_k_errors(no_jaxtyping):
  with pytest.raises(ValueError, match=r"pass_at_k: k must be in \[1, inf\]"):
    statistics.pass_at_k(CORRECT, k=0)
  with pytest.raises(ValueError, match=r"'mask': \(6,\)"):
    statistics.pass_at_k(CORRECT, VALID[0], k=1)


@variants.every
def test_group_rank_by_hand(variant):
  x = jnp.array([[0.3, -1.0, 7.0, 0.3], [1.0, 1.0, 1.0, 1.0]])
  actual = variant(statistics.group_rank)(x)
  np.testing.assert_array_equal(actual, [[1, 0, 3, 2], [0, 1, 2, 3]])


def test_group_rank_is_unmoved_by_increasing_maps():
  x = jax.random.normal(jax.random.key(0), (5, 9))
  before = statistics.group_rank(x)
  np.testing.assert_array_equal(statistics.group_rank(jnp.exp(3 * x)), before)
  np.testing.assert_array_equal(jnp.sort(before, -1)[0], np.arange(9))


@variants.every
def test_segment_counts_by_hand(variant):
  values = jnp.array([[1.0, 2.0, NAN], [4.0, 8.0, 16.0]])
  segments = jnp.array([[0, 2, 2], [0, 0, 1]])
  mask = jnp.array([[True, True, False], [True, True, True]])
  sums = lambda *args: statistics.segment_counts(*args, num_segments=4)
  expected = [[1, 0, 2, 0], [12, 16, 0, 0]]
  if variant is not variants.vmapped:
    expected = np.sum(expected, 0)
  actual = variant(sums)(values, segments, mask)
  np.testing.assert_array_equal(actual, expected)


def test_segment_counts_gradient_widening_and_empty_mask():
  segments = jnp.array([0, 1, 1])
  mask = jnp.array([True, False, True])
  sums = lambda x, m: statistics.segment_counts(x, segments, m, num_segments=2)
  x = jnp.array([1.0, NAN, 3.0])
  loss = lambda x: jnp.vdot(jnp.array([2.0, 5.0]), sums(x, mask))
  np.testing.assert_array_equal(jax.grad(loss)(x), [2, 0, 5])
  np.testing.assert_array_equal(sums(x, jnp.zeros(3, bool)), [0, 0])
  wide = statistics.segment_counts(
      jnp.ones(700, jnp.bfloat16), jnp.zeros(700, int), num_segments=1
  )
  np.testing.assert_array_equal(wide, [700])


def test_segment_counts_names_mismatched_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'segments': \(2,\), 'mask': \(1,\)"):
    statistics.segment_counts(
        jnp.ones(2), jnp.zeros(2, int), jnp.ones(1, bool), num_segments=1
    )


STEP_IDS = jnp.array([[0, 0, 1, 2, 3], [1, -1, 1, 0, 0]])
STEP_MASK = jnp.array([[True] * 5, [True, True, False, True, False]])


@variants.every
def test_step_sums_by_hand(variant):
  values = jnp.array([[1.0, 2.0, 4.0, 8.0, 16.0], [1, 2, jnp.nan, 8, jnp.nan]])
  call = functools.partial(statistics.step_sums, num_steps=3)
  actual = variant(call)(values, STEP_IDS, STEP_MASK)
  np.testing.assert_array_equal(actual, [[3, 4, 8], [8, 1, 0]])
  slope = jax.grad(lambda v: jnp.sum(call(v, STEP_IDS, STEP_MASK)))(values)
  np.testing.assert_array_equal(slope, [[1, 1, 1, 1, 0], [1, 0, 0, 1, 0]])


def test_step_sums_name_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="step_sums: expected one common"):
    statistics.step_sums(jnp.ones((2, 4)), STEP_IDS, num_steps=3)
  with pytest.raises(ValueError, match="num_steps must be in"):
    statistics.step_sums(jnp.ones((2, 5)), STEP_IDS, num_steps=0)
