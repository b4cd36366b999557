import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.reward_models import ordinal
from tests import variants

ordinal = variants.programs(ordinal)

NAN = jnp.nan
CHOSEN = jnp.log(jnp.array([[0.1, 0.2, 0.7], [NAN, 0.5, 0.5]]))
REJECTED = jnp.log(jnp.array([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4]]))
MASK = jnp.array([True, False])


@variants.every
def test_preference_by_hand(variant):
  lift = lambda x: jnp.stack([x, x])
  actual = variant(lambda c, r, m: ordinal.preference_log_prob(c, r, mask=m))(
      lift(CHOSEN), lift(REJECTED), lift(MASK)
  )
  np.testing.assert_allclose(actual, [[np.log(0.66), 0]] * 2, rtol=1e-5)


def test_win_tie_and_loss_sum_to_one():
  c, r = CHOSEN[0], REJECTED[0]
  win = jnp.exp(ordinal.preference_log_prob(c, r))
  loss = jnp.exp(ordinal.preference_log_prob(r, c))
  tie = jnp.exp(ordinal.preference_log_prob(c, r, jnp.eye(3, dtype=bool)))
  np.testing.assert_allclose([win, tie, loss], [0.66, 0.25, 0.09], rtol=1e-5)


def test_gradient_is_the_other_distribution_function():
  def win(log_c, log_r):  # log_softmax of a log of probabilities: itself
    return jnp.exp(ordinal.preference_log_prob(log_c, log_r))

  c, r = jnp.exp(CHOSEN[0]), jnp.exp(REJECTED[0])
  of_c, of_r = variants.grad(win, argnums=(0, 1))(CHOSEN[0], REJECTED[0])
  below = np.array([0, 0.5, 0.8])  # F_r(k - 1)
  above = 1 - np.array([0.1, 0.3, 1.0])  # 1 - F_c(k)
  # Through the softmax: p (g - sum p g).
  for slope, p, g in ((of_c, c, below), (of_r, r, above)):
    expected = p * (g - np.sum(p * g))
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-6)


def test_masked_and_far_out_logits():
  slope = variants.grad(
      lambda c: jnp.sum(ordinal.preference_log_prob(c, REJECTED, mask=MASK))
  )(CHOSEN)
  assert np.all(np.isfinite(slope))
  np.testing.assert_array_equal(slope[1], 0.0)
  c, r = jnp.array([200.0, 0.0, -200.0]), jnp.array([-200.0, 0.0, 200.0])
  value, slope = variants.value_and_grad(ordinal.preference_log_prob)(c, r)
  np.testing.assert_allclose(value, -400.0, rtol=0.5)
  assert np.all(np.isfinite(slope)) and np.isfinite(value)


def test_an_empty_region_has_no_gradient():
  region = jnp.stack([jnp.zeros((3, 3), bool), jnp.tri(3, k=-1, dtype=bool)])
  logits = jnp.ones((2, 3))
  total = lambda c, m: jnp.sum(
      ordinal.preference_log_prob(c, logits, region, m)
  )
  call = variants.value_and_grad(total)
  value, slope = call(logits, jnp.array([False, True]))
  assert np.isfinite(value) and np.all(slope[0] == 0) and np.any(slope[1] != 0)
  value, slope = call(logits, None)
  assert value == -jnp.inf and np.all(np.isfinite(slope))


_preference = jax.jit(ordinal.preference_log_prob)


@functools.partial(jax.jit, static_argnums=2)
def _region(high, low, mode):
  return ordinal.region_mask(high, low, num_grades=9, num_levels=3, mode=mode)


@pytest.mark.parametrize(
    "levels,mode,cells,loss",
    [
        ((2, 0), "block", 9, 2.197225),
        ((2, 0), "flood", 36, 0.810930),
        ((2, 1), "block", 9, 2.197225),
        ((2, 1), "flood", 15, 1.686399),
        ((2, 2), "block", 3, 3.295837),
        ((2, 2), "flood", 3, 3.295837),
        ((-1, 1), "flood", 36, 0.810930),
        ((0, 2), "flood", 0, np.inf),
        ((0, 2), "block", 0, np.inf),
    ],
)
def test_regions_of_uniform_grades(levels, mode, cells, loss):
  region = _region(*map(np.array, levels), mode)
  assert np.sum(region) == cells
  uniform = np.zeros(9, np.float32)
  actual = -np.asarray(_preference(uniform, uniform, region))
  np.testing.assert_allclose(actual, loss, atol=1e-5)


@variants.every
@pytest.mark.parametrize("mode", ["block", "flood"])
def test_regions_against_loops(variant, mode):
  pairs = np.array(list(itertools.product([-1, 0, 1, 2], repeat=2)))
  make = variant(
      lambda a, b: ordinal.region_mask(
          a, b, num_grades=6, num_levels=3, mode=mode
      )
  )
  actual = np.asarray(make(*map(jnp.asarray, pairs.T)))
  for row, (high, low) in enumerate(pairs):
    for i, j in itertools.product(range(6), repeat=2):
      if min(high, low) < 0:
        expected = i > j
      elif mode == "block":
        expected = i > j and i // 2 == high and j // 2 == low
      else:
        expected = high >= low and 2 * low <= j < i <= 2 * high + 1
      assert actual[row, i, j] == expected


def test_continuous_grades_are_bradley_terry():
  """Many grades of a Gumbel score: the difference of two is logistic."""
  x = np.linspace(-14, 18, 1200)
  density = lambda m: jnp.array(-(x - m) - np.exp(-(x - m)))
  for gap in (0.0, 1.3):
    win = jnp.exp(ordinal.preference_log_prob(density(gap), density(0.0)))
    np.testing.assert_allclose(win, 1 / (1 + np.exp(-gap)), atol=6e-3)


@variants.every
def test_moments_by_hand(variant):
  logits = jnp.stack([CHOSEN[0], REJECTED[0]])
  actual = variant(ordinal.moments)(logits)
  np.testing.assert_allclose(actual.mean, [2.6, 1.7], rtol=1e-5)
  np.testing.assert_allclose(actual.variance, [0.44, 0.61], rtol=1e-4)


def test_moments_of_given_grades_and_impossible_ones():
  logits = jnp.array([0.0, -jnp.inf, 0.0])
  actual = ordinal.moments(logits, jnp.array([0.0, 5.0, 10.0]))
  assert (actual.mean, actual.variance) == (5.0, 25.0)
  slope = variants.grad(lambda x: ordinal.moments(x).mean)(logits)
  np.testing.assert_allclose(slope, [-0.5, 0.0, 0.5], atol=1e-6)
  half = ordinal.moments(jnp.zeros(4, jnp.bfloat16))
  assert half.mean.dtype == jnp.float32


def test_names_bad_arguments(no_jaxtyping):
  x = jnp.zeros((2, 3))
  with pytest.raises(ValueError, match="'rejected': \\(3,\\)"):
    ordinal.preference_log_prob(x, x[0])
  with pytest.raises(ValueError, match="region must broadcast to"):
    ordinal.preference_log_prob(x, x, jnp.ones((2, 2), bool))
  level = jnp.zeros(2, int)
  with pytest.raises(ValueError, match="num_grades must be a multiple"):
    ordinal.region_mask(
        level, level, num_grades=9, num_levels=2, mode="block"
    )
  with pytest.raises(ValueError, match="mode must be one of block, flood"):
    ordinal.region_mask(level, level, num_grades=9, num_levels=3, mode="x")
  with pytest.raises(ValueError, match="grades must be \\(3,\\)"):
    ordinal.moments(x, jnp.ones(2))
