import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import statistics
from tests import variants

NAN = jnp.nan


@variants.every
@pytest.mark.parametrize(
    "average, expected",
    [
        (False, [[1, 0, 3, 2, 4, 0], [0, 1, 2, 0, 0, 0]]),
        (True, [[1.5, 0, 3.5, 1.5, 3.5, 0], [1, 1, 1, 0, 0, 0]]),
    ],
)
def test_ranks_by_hand(variant, average, expected):
  inf = jnp.inf
  x = jnp.array([[0.3, -inf, inf, 0.3, inf, NAN], [1, 1, 1, NAN, -inf, inf]])
  mask = jnp.array([[True] * 5 + [False], [True] * 3 + [False] * 3])
  rank = lambda x, m: statistics.ranks(x, m, average=average)
  np.testing.assert_array_equal(variant(rank)(x, mask), expected)


@pytest.mark.parametrize("average", [False, True])
def test_ranks_are_unmoved_by_increasing_maps(average):
  x = jax.random.normal(jax.random.key(0), (5, 9))
  rank = lambda x: statistics.ranks(x, average=average)
  np.testing.assert_array_equal(rank(jnp.exp(3 * x)), rank(x))
  np.testing.assert_array_equal(jnp.sort(rank(x), -1)[0], np.arange(9))


def test_ranks_equal_counting_with_many_ties():
  random = np.random.default_rng(0)
  x, mask = random.integers(0, 4, (7, 11)) / 2.0, random.random((7, 11)) < 0.6
  below, not_above = statistics.tie_bounds(jnp.array(x), jnp.array(mask))
  rank = statistics.ranks(jnp.array(x), jnp.array(mask), average=True)
  for b, i in zip(*np.nonzero(mask)):
    valid = x[b][mask[b]]
    assert below[b, i] == np.sum(valid < x[b, i])
    assert not_above[b, i] == np.sum(valid <= x[b, i])
    ties = np.arange(np.sum(valid < x[b, i]), np.sum(valid <= x[b, i]))
    np.testing.assert_allclose(rank[b, i], np.mean(ties))
  np.testing.assert_array_equal(rank[~mask], 0)


@pytest.mark.parametrize("average", [False, True])
def test_ranks_edges(average):
  rank = lambda x, mask=None: statistics.ranks(x, mask, average=average)
  x, valid = jnp.array([2.0, NAN, 1.0]), jnp.array([True, False, True])
  np.testing.assert_array_equal(rank(x, jnp.zeros(3, bool)), 0)
  np.testing.assert_array_equal(rank(jnp.array([7.0])), 0)
  assert rank(x.astype(jnp.bfloat16)).dtype == jnp.float32
  product = lambda x: jnp.sum(jnp.where(valid, x, 0.0) * rank(x, valid))
  # The rank itself is held.
  np.testing.assert_array_equal(jax.grad(product)(x), [1, 0, 0])


def test_ranks_name_mismatched_arguments(no_jaxtyping):
  for function in (statistics.tie_bounds, statistics.ranks):
    options = {} if function is statistics.tie_bounds else {"average": True}
    with pytest.raises(ValueError, match=r"'values': \(2,\), 'mask': \(1,\)"):
      function(jnp.ones(2), jnp.ones(1, bool), **options)


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
