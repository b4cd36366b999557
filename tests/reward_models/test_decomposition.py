import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.reward_models import decomposition as d
from tests import variants

d = variants.programs(d)

NAN = jnp.nan
STEPS = jnp.array([[1.0, 2.0, NAN, 0.5], [NAN, NAN, NAN, NAN]])
MASK = jnp.array([[True, True, False, True], [False] * 4])
RETURNS = jnp.array([5.0, 3.0])


@variants.every
def test_losses_by_hand(variant):
  full = variant(d.return_decomposition_loss)(STEPS, RETURNS, MASK)
  np.testing.assert_allclose(full, [(5 - 3.5) ** 2, 9.0], rtol=1e-6)
  subset = jnp.array([[True, True, True, False], [True] * 4])
  part = variant(d.subset_decomposition_loss)(STEPS, RETURNS, subset, MASK)
  # T = 3, K = 2: the sum is guessed as 4.5, s^2 = .5.
  expected = (5 - 4.5) ** 2 - 9 * (1 - 2 / 3) * 0.5 / 2
  np.testing.assert_allclose(part, [expected, 9.0], rtol=1e-5)


def all_subsets(total, size):
  rows = np.zeros((0, total), bool)
  for chosen in itertools.combinations(range(total), size):
    row = np.isin(np.arange(total), chosen)
    rows = np.concatenate([rows, row[None]])
  return rows


@pytest.mark.parametrize("size", [2, 3, 5])
def test_mean_over_all_subsets_is_the_full_loss(size):
  """T = 5: value and gradient, exactly."""
  steps = np.array([0.3, -1.2, 2.0, 0.7, 0.1], np.float32)
  subsets = jnp.asarray(all_subsets(5, size))
  returns = jnp.asarray(np.float32(1.5))

  def part(steps):
    spread = jnp.broadcast_to(steps, subsets.shape)
    return jnp.mean(
        d.subset_decomposition_loss(
            spread, jnp.full(len(subsets), returns), subsets
        )
    )

  full = lambda steps: d.return_decomposition_loss(steps, returns)
  both = jax.jit(
      lambda x: [variants.value_and_grad(f)(x) for f in (part, full)]
  )
  (value, slope), (expected, expected_slope) = both(steps)
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  np.testing.assert_allclose(slope, expected_slope, rtol=1e-5, atol=1e-6)


def test_a_term_smaller_by_k_squared_would_be_biased():
  """What the sum form needs: s^2 T^2 (1 - K/T) / K, not that over K^2."""
  steps = np.array([0.3, -1.2, 2.0, 0.7, 0.1])
  subsets = all_subsets(5, 2)
  squares = [(1.5 - 2.5 * steps[m].sum()) ** 2 for m in subsets]
  gained = [25 * (1 - 2 / 5) * steps[m].var(ddof=1) / 2 for m in subsets]
  full = (1.5 - steps.sum()) ** 2
  np.testing.assert_allclose(np.mean(squares) - np.mean(gained), full)
  assert abs(np.mean(squares) - np.mean(gained) / 4 - full) > 1


def test_subsets_are_drawn_evenly_and_without_replacement():
  mask = np.tile(np.array([[True, True, False, True, True]]), (4000, 1))
  draw = jax.jit(d.draw_subset, static_argnames="size")
  drawn = np.asarray(draw(jax.random.key(0), mask, size=2))
  assert np.all(np.sum(drawn, 1) == 2) and not np.any(drawn[:, 2])
  np.testing.assert_allclose(
      np.mean(drawn, 0), [0.5, 0.5, 0, 0.5, 0.5], atol=0.04
  )
  short = draw(jax.random.key(0), mask, size=9)
  np.testing.assert_array_equal(short, mask)


def test_gradients_are_held_and_masked():
  loss = lambda s, r: jnp.sum(d.return_decomposition_loss(s, r, MASK))
  slope, held = variants.grad(loss, (0, 1))(STEPS, RETURNS)
  np.testing.assert_allclose(slope, [[-3, -3, 0, -3], [0] * 4])
  np.testing.assert_array_equal(held, 0.0)


def test_least_squares_recovers_the_weights_exactly():
  rng = np.random.default_rng(0)
  factors = rng.normal(size=(20, 7, 3)).astype(np.float32)
  lengths = rng.integers(3, 8, 20)
  mask = np.arange(7)[None] < lengths[:, None]
  weights = np.array([0.5, -2.0, 1.0], np.float32)
  returns = np.where(mask, factors @ weights, 0).sum(1)
  factors[~mask] = np.nan
  actual = d.fit_linear(*map(jnp.asarray, (factors, returns, mask)))
  np.testing.assert_allclose(actual, weights, rtol=1e-4)
  shrunk = d.fit_linear(
      *map(jnp.asarray, (factors, returns, mask)), ridge=1e6
  )
  assert np.all(np.abs(shrunk) < 0.01)


def test_a_constant_factor_shares_out_evenly():
  factors, returns = jnp.ones((4, 5, 1)), jnp.array([1.0, 2.0, 3.0, 4.0])
  weights = d.fit_linear(factors[:1], returns[:1])
  shares = d.match_returns(factors[:1] @ weights, returns[:1])
  np.testing.assert_allclose(shares, 0.2, rtol=1e-5)
  silent = d.match_returns(jnp.zeros((4, 5)), returns)
  np.testing.assert_allclose(silent, returns[:, None] / 5 + jnp.zeros((4, 5)))


@variants.every
def test_match_returns_by_hand(variant):
  shares = variant(d.match_returns)(STEPS, RETURNS, MASK)
  np.testing.assert_allclose(
      shares, [[1.5, 2.5, 0, 1.0], [0, 0, 0, 0]], rtol=1e-6
  )


def test_an_exchange_of_constants_is_not_identified():
  """Fixed length: +c at step 0 and -c at step 1 fit as well."""
  steps = jnp.array([[1.0, 2.0, 3.0]])
  moved = steps + jnp.array([[5.0, -5.0, 0.0]])
  loss = lambda s: d.return_decomposition_loss(s, jnp.array([4.0]))
  np.testing.assert_allclose(loss(steps), loss(moved))


def test_errors_name_the_argument(no_jaxtyping):
  with pytest.raises(ValueError, match="size must be in"):
    d.draw_subset(jax.random.key(0), MASK, size=1)
  with pytest.raises(ValueError, match=r"'returns': \(3,\)"):
    d.return_decomposition_loss(STEPS, jnp.ones(3))
  with pytest.raises(ValueError, match="ridge must be in"):
    d.fit_linear(jnp.ones((2, 2, 1)), jnp.ones(2), ridge=-1.0)
