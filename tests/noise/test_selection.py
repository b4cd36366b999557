import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.noise import selection
from tests import variants

NAN = jnp.nan
LOSSES = jnp.array([[0.5, 0.1, NAN, 3.0, 0.2], [1.0, 1.0, 1.0, 1.0, NAN]])
MASK = ~jnp.isnan(LOSSES)


@variants.every
def test_small_losses_by_hand(variant):
  actual = variant(
      lambda x, m: selection.small_loss_weights(x, m, keep=0.5)
  )(LOSSES, MASK)
  # Two of four; of equal ones the first.
  np.testing.assert_array_equal(actual, [[0, 1, 0, 0, 1], [1, 1, 0, 0, 0]])


def test_the_number_kept_is_exact():
  """Of n losses, whether they stand alone or before masked ones."""
  tenths = np.arange(11)

  @jax.jit
  def count(losses, mask, tenths):
    of = lambda t: selection.small_loss_weights(losses, mask, keep=t / 10.0)
    return jnp.sum(jax.vmap(of)(tenths), axis=-1)

  sizes = np.arange(1, 41)
  losses = (np.arange(40) % 3).astype(np.float32)
  real = np.arange(40) < sizes[:, None]
  kept = jax.jit(jax.vmap(count, (None, 0, None)))(losses, real, tenths)
  np.testing.assert_array_equal(kept, tenths * sizes[:, None] // 10)
  for n in (1, 7, 10):
    kept = count(losses[:n], np.ones(n, bool), tenths)
    np.testing.assert_array_equal(kept, tenths * n // 10)


def test_rounding_of_the_share_costs_no_pair():
  keep = selection.keep_schedule(1, rate=0.33, warmup=1)
  for n in (100, 1000):
    kept = selection.small_loss_weights(jnp.zeros(n), keep=keep)
    assert float(jnp.sum(kept)) == 67 * n // 100


def test_edges_of_the_selection():
  ones = jnp.ones((2, 3))
  assert not np.any(selection.small_loss_weights(ones, keep=0.0))
  assert np.all(selection.small_loss_weights(ones, keep=1.0))
  nothing = jnp.zeros(ones.shape, bool)
  assert not np.any(selection.small_loss_weights(ones, nothing, keep=1.0))
  slope = jax.grad(
      lambda x: jnp.sum(selection.small_loss_weights(x, MASK, keep=0.5) * x)
  )
  expected = selection.small_loss_weights(LOSSES, MASK, keep=0.5)
  clean = jnp.nan_to_num(LOSSES)
  np.testing.assert_array_equal(slope(clean), expected)  # through x alone


def test_each_model_learns_from_the_choice_of_the_other():
  first = jnp.array([1.0, 2.0, 3.0, 4.0])
  second = jnp.array([4.0, 1.0, 2.0, 3.0])
  weights = selection.co_teaching_weights(first, second, keep=0.5)
  np.testing.assert_array_equal(weights.first, [0, 1, 1, 0])
  np.testing.assert_array_equal(weights.second, [1, 1, 0, 0])
  same = selection.co_teaching_weights(first, first, keep=0.5)
  own = selection.small_loss_weights(first, keep=0.5)
  np.testing.assert_array_equal(same.first, own)
  np.testing.assert_array_equal(same.second, own)


def test_one_loss_updates_both_models_with_parameters_from_before():
  """The gradient of the joint loss is that of each with fixed weights."""
  x = jnp.array([1.0, -2.0, 0.5, 3.0])
  losses = lambda w: jnp.square(w * x - 1)
  a, b = jnp.array(0.3), jnp.array(-0.8)

  def joint(a, b):
    w = selection.co_teaching_weights(losses(a), losses(b), keep=0.5)
    return jnp.sum(w.first * losses(a)) + jnp.sum(w.second * losses(b))

  of_a, of_b = jax.grad(joint, argnums=(0, 1))(a, b)
  w = selection.co_teaching_weights(losses(a), losses(b), keep=0.5)
  assert np.any(w.first != w.second)
  slope = lambda w, p: np.sum(w * 2 * x * (p * x - 1))
  np.testing.assert_allclose(of_a, slope(w.first, a), rtol=1e-5)
  np.testing.assert_allclose(of_b, slope(w.second, b), rtol=1e-5)


def test_keep_schedule():
  steps = [0, 5, 10, 99]
  actual = [
      selection.keep_schedule(t, rate=0.4, warmup=10) for t in steps
  ]
  np.testing.assert_allclose(actual, [1.0, 0.8, 0.6, 0.6], rtol=1e-6)


STRENGTH = jnp.array(
    [[-2.0, 5.0, 0.1, NAN, 1.0, -1.0, 3.0, 2.0, 0.5, 0.2, 0.7]] * 2
)


@variants.every
def test_relabelling_by_hand(variant):
  relabel = lambda x, m: selection.quantile_relabel(
      x, m, flip=0.2, drop=0.3, soften=0.1, smoothing=0.25, margin_scale=2.0
  )
  actual = variant(relabel)(STRENGTH, ~jnp.isnan(STRENGTH))
  # Ascending: -2 -1 | .1 .2 .5 | .7 1 2 3 | 5.
  np.testing.assert_allclose(
      actual.target[0], [0, 0.75, 1, 1, 1, 0, 1, 1, 1, 1, 1]
  )
  np.testing.assert_allclose(
      actual.weight[0], [1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1]
  )
  np.testing.assert_allclose(
      actual.margin[0], 2 * np.nan_to_num(STRENGTH[0])
  )


def test_without_shares_nothing_is_relabelled():
  actual = selection.quantile_relabel(STRENGTH, ~jnp.isnan(STRENGTH))
  np.testing.assert_array_equal(actual.target, 1.0)
  np.testing.assert_array_equal(actual.margin, 0.0)
  np.testing.assert_array_equal(actual.weight, ~jnp.isnan(STRENGTH))


def test_margins_of_flipped_pairs_are_those_of_the_reversed_pair():
  """Target 0 and margin mu are the loss of (-diff) with margin -mu."""
  diff, mu = np.array([0.3, -1.2]), np.array([-2.0, -0.5])
  z = diff - mu
  loss = np.log1p(np.exp(z))  # target 0
  reversed_loss = np.log1p(np.exp(-(-diff - (-mu))))
  np.testing.assert_allclose(loss, reversed_loss)
  actual = selection.quantile_relabel(
      jnp.array(mu), flip=1.0, margin_scale=1.0
  )
  np.testing.assert_array_equal(actual.target, 0.0)
  np.testing.assert_allclose(actual.margin, mu)


def test_relabelling_has_no_gradient():
  slope = jax.grad(
      lambda x: jnp.sum(
          selection.quantile_relabel(x, flip=0.5, margin_scale=1.0).margin
      )
  )(jnp.ones(4))
  np.testing.assert_array_equal(slope, 0.0)


def test_names_bad_arguments(no_jaxtyping):
  x = jnp.ones(4)
  with pytest.raises(ValueError, match="keep must be in \\[0, 1\\]"):
    selection.small_loss_weights(x, keep=1.5)
  with pytest.raises(ValueError, match="sum_of_shares must be in"):
    selection.quantile_relabel(x, flip=0.6, drop=0.6)
  with pytest.raises(ValueError, match="keep_schedule: warmup must be in"):
    selection.keep_schedule(1, rate=0.2, warmup=0)
  with pytest.raises(ValueError, match="'second': \\(3,\\)"):
    selection.co_teaching_weights(x, x[:3], keep=0.5)
