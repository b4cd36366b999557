import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.models import pooling
from tests import variants

NAN = jnp.nan
FEATURES = jnp.array([
    [[1.0, 0.0], [2.0, 5.0], [NAN, NAN], [4.0, -1.0]],
    [[NAN, NAN], [0.0, 3.0], [NAN, 7.0], [NAN, NAN]],
])
MASK = jnp.array([[True, True, False, True], [False, True, False, False]])
POOLS = [pooling.last, pooling.mean, pooling.position_weighted]


@variants.every
@pytest.mark.parametrize(
    "pool,expected",
    [
        (pooling.last, [[4, -1], [0, 3]]),
        (pooling.mean, [[7 / 3, 4 / 3], [0, 3]]),
        # Weights 1, 2, 3: the gap is no position.
        (pooling.position_weighted, [[17 / 6, 7 / 6], [0, 3]]),
    ],
)
def test_pools_by_hand(variant, pool, expected):
  actual = variant(pool)(FEATURES, MASK)
  np.testing.assert_allclose(actual, expected, rtol=1e-6)


@variants.every
def test_special_positions(variant):
  actual = variant(pooling.special)(FEATURES, jnp.array([[3, 0], [1, 1]]))
  expected = [[[4, -1], [1, 0]], [[0, 3], [0, 3]]]
  np.testing.assert_allclose(actual, expected)


@pytest.mark.parametrize("pool", POOLS)
def test_padding_changes_nothing(pool):
  """Pain 18 (reward-bench #137, TRL #422): alone == in a padded batch."""
  alone = jax.random.normal(jax.random.key(0), (3, 4))
  rows = [jnp.full((2, 4), NAN), alone, jnp.full((1, 4), NAN)]
  mask = jnp.array([False] * 2 + [True] * 3 + [False])
  np.testing.assert_allclose(
      pool(jnp.concatenate(rows), mask),
      pool(alone, jnp.ones(3, bool)),
      rtol=1e-6,
  )


@pytest.mark.parametrize("pool", POOLS)
def test_masked_features_have_no_gradient_and_nothing_is_finite(pool):
  slope = jax.grad(lambda f: jnp.sum(pool(f, MASK)))(FEATURES)
  assert np.all(np.isfinite(slope))
  np.testing.assert_array_equal(slope[~MASK], 0.0)
  np.testing.assert_allclose(jnp.sum(slope, axis=(1, 2)), 2, rtol=1e-6)
  nothing = jnp.zeros_like(MASK)
  np.testing.assert_array_equal(pool(FEATURES, nothing), 0.0)


def test_the_mean_does_not_depend_on_order():
  f = jax.random.normal(jax.random.key(0), (5, 3))
  mask = jnp.ones(5, bool)
  np.testing.assert_allclose(
      pooling.mean(f, mask), pooling.mean(f[::-1], mask), rtol=1e-5
  )
  gap = pooling.position_weighted(f, mask)
  assert np.max(np.abs(gap - pooling.position_weighted(f[::-1], mask))) > 0.1


@pytest.mark.parametrize("pool", POOLS[1:])
def test_means_of_bfloat16_are_float32(pool):
  ones = jnp.ones((600, 2), jnp.bfloat16)
  out = pool(ones, jnp.ones(600, bool))
  assert out.dtype == jnp.float32
  np.testing.assert_allclose(out, 1.0, rtol=1e-6)


def test_names_bad_arguments(no_jaxtyping):
  for pool in POOLS:
    with pytest.raises(ValueError, match=f"{pool.__name__}: expected one"):
      pool(FEATURES, MASK[:, :2])
  with pytest.raises(ValueError, match="'positions': \\(3,\\)"):
    pooling.special(FEATURES, jnp.zeros((3, 1), int))
