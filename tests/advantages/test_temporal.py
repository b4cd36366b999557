import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from rewardjax.advantages import temporal
from tests import variants

temporal = variants.programs(temporal)

NAN = jnp.nan
# Row 1 has an observation in the middle and padding at the end.
REWARDS = jnp.array([[0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, NAN, 1.0, NAN]])
VALUES = jnp.array([[0.5, 0.6, 0.7, 0.0, 0.0], [0.5, 0.6, 99.0, 0.7, NAN]])
MASK = jnp.array(
    [
        [True, True, True, False, False],
        [True, True, False, True, False],
    ]
)


def _gae_loops(rewards, values, mask, discount, decay, bootstrap=None):
  """The definition: sums of discounted errors over the kept steps only."""
  advantages = np.zeros(rewards.shape)
  for row in range(len(rewards)):
    kept = np.flatnonzero(mask[row])
    r, v = rewards[row, kept], values[row, kept]
    last = 0.0 if bootstrap is None else bootstrap[row]
    following = np.append(v[1:], last)
    delta = r + discount * following - v
    for i, t in enumerate(kept):
      powers = (discount * decay) ** np.arange(len(kept) - i)
      advantages[row, t] = np.sum(powers * delta[i:])
  return advantages


@variants.every
@pytest.mark.parametrize(
    "discount,decay,expected",
    [(1.0, 0.95, (0.46575, 0.385, 0.3)), (0.9, 0.8, (0.21712, 0.246, 0.3))],
)
def test_gae_skips_observations(variant, discount, decay, expected):
  """Pain 12: miles #1827, pytorch/rl #4404 (recursion through tool tokens)."""
  call = lambda *args: temporal.gae(*args, discount=discount, decay=decay)
  advantages, returns = variant(call)(REWARDS, VALUES, MASK)
  a, b, c = expected
  np.testing.assert_allclose(
      advantages, [[a, b, c, 0, 0], [a, b, 0, c, 0]], rtol=1e-5
  )
  np.testing.assert_allclose(
      returns,
      [[a + 0.5, b + 0.6, 1.0, 0, 0], [a + 0.5, b + 0.6, 0, 1.0, 0]],
      rtol=1e-5,
  )


@variants.every
def test_reward_to_go_by_hand(variant):
  call = lambda r, m: temporal.reward_to_go(r, m, discount=0.5)
  rewards = jnp.array([[1.0, 2.0, 4.0, NAN], [1.0, NAN, 4.0, 8.0]])
  mask = jnp.array([[True, True, True, False], [True, False, True, True]])
  actual = variant(call)(rewards, mask)
  # 1 + .5 (2 + .5 * 4); and 1 + .5 (4 + .5 * 8) over the observation.
  np.testing.assert_allclose(actual, [[3, 4, 4, 0], [5, 0, 8, 8]])


@pytest.mark.parametrize("with_bootstrap", [False, True])
def test_gae_against_its_definition(with_bootstrap):
  random = np.random.default_rng(0)
  rewards, values = random.normal(size=(2, 4, 9))
  mask = random.random((4, 9)) < 0.7
  mask[3] = False
  bootstrap = random.normal(size=4) if with_bootstrap else None
  expected = _gae_loops(rewards, values, mask, 0.9, 0.7, bootstrap)
  given = None if bootstrap is None else jnp.array(bootstrap)
  advantages, returns = temporal.gae(
      jnp.where(mask, rewards, NAN),
      jnp.where(mask, values, NAN),
      jnp.array(mask),
      discount=0.9,
      decay=0.7,
      bootstrap=given,
  )
  np.testing.assert_allclose(advantages, expected, atol=1e-5)
  np.testing.assert_allclose(
      returns, np.where(mask, expected + values, 0.0), atol=1e-5
  )


def test_gae_limits():
  """decay 0 is the one-step error; decay 1 telescopes to return less V."""
  rewards, values, mask = REWARDS, VALUES, MASK
  one = temporal.gae(rewards, values, mask, discount=0.9, decay=1.0)
  returns = temporal.reward_to_go(rewards, mask, discount=0.9)
  np.testing.assert_allclose(one.returns, returns, rtol=1e-6)
  zero = temporal.gae(rewards, values, mask, discount=1.0, decay=0.0)
  expected = [[0.1, 0.1, 0.3, 0, 0], [0.1, 0.1, 0, 0.3, 0]]
  np.testing.assert_allclose(zero.advantages, expected, rtol=1e-5)


def test_truncated_samples_bootstrap_and_ended_ones_do_not():
  rewards = jnp.zeros((2, 1, 3))
  values = jnp.ones((2, 1, 3))
  bootstrap = jnp.array([[1.0], [0.0]])
  mask = jnp.array([True, True, False])[None, None].repeat(2, 0)
  advantages = temporal.gae(
      rewards, values, mask, discount=1.0, decay=1.0, bootstrap=bootstrap
  ).advantages
  # Cut off with the same value ahead: nothing lost. Ended: the 1 never came.
  np.testing.assert_allclose(advantages[:, 0], [[0, 0, 0], [-1, -1, 0]])


def test_no_mask_means_all_valid_and_leading_axes_are_free():
  random = np.random.default_rng(1)
  rewards = jnp.array(random.normal(size=(2, 3, 5)), jnp.float32)
  one = temporal.gae(rewards[1, 2], rewards[0, 0], discount=0.9, decay=0.5)
  values = jnp.broadcast_to(rewards[0, 0], rewards.shape)
  many = temporal.gae(rewards, values, discount=0.9, decay=0.5)
  np.testing.assert_allclose(many.advantages[1, 2], one.advantages, rtol=1e-6)
  whole = temporal.reward_to_go(rewards)
  expected = np.cumsum(np.asarray(rewards)[..., ::-1], -1)[..., ::-1]
  np.testing.assert_allclose(whole, expected, atol=1e-5)


def test_gradients_match_finite_differences_and_skip_masked_entries():
  with jax.enable_x64(True):
    rewards = jnp.asarray(jnp.where(MASK, REWARDS, 0.3), jnp.float64)
    values = jnp.asarray(jnp.where(MASK, VALUES, 0.4), jnp.float64)
    bootstrap = jnp.array([0.3, -0.2])
    call = lambda r, v, b: temporal.gae(
        r, v, MASK, discount=0.9, decay=0.8, bootstrap=b
    )
    # Under jit: the finite differences pass NumPy arrays.
    check_grads(jax.jit(call), (rewards, values, bootstrap), order=1)
  loss = lambda r, v: jnp.sum(
      jnp.square(temporal.gae(r, v, MASK, discount=0.9, decay=0.8).advantages)
  )
  for slope in variants.grad(loss, argnums=(0, 1))(REWARDS, VALUES):
    assert np.all(np.isfinite(slope))
    np.testing.assert_array_equal(slope[~MASK], 0.0)
  loss = lambda r: jnp.sum(temporal.reward_to_go(r, MASK, discount=0.5))
  expected = [[1, 1.5, 1.75, 0, 0], [1, 1.5, 0, 1.75, 0]]
  np.testing.assert_allclose(variants.grad(loss)(REWARDS), expected)


def test_nothing_valid_gives_zero():
  """Pain 8: TRL #3248 (all completions masked)."""
  rewards, mask = jnp.full((2, 3), NAN), jnp.zeros((2, 3), bool)
  np.testing.assert_array_equal(temporal.reward_to_go(rewards, mask), 0.0)
  result = temporal.gae(rewards, rewards, mask, discount=1.0, decay=1.0)
  np.testing.assert_array_equal(result.advantages, 0.0)
  np.testing.assert_array_equal(result.returns, 0.0)


def test_accumulates_bfloat16_in_float32():
  rewards = jnp.full((1000,), 0.1, jnp.bfloat16)
  actual = temporal.reward_to_go(rewards)
  assert actual.dtype == jnp.float32
  expected = float(rewards[0]) * 1000
  np.testing.assert_allclose(actual[0], expected, rtol=1e-4)


def test_one_dispatch_for_a_traced_discount():
  schedule = jax.jit(lambda d: temporal.reward_to_go(REWARDS, MASK, discount=d))
  np.testing.assert_allclose(schedule(jnp.array(0.5))[0], [0.25, 0.5, 1, 0, 0])


def test_names_bad_arguments(no_jaxtyping):
  ones = jnp.ones((2, 3))
  with pytest.raises(ValueError, match="gae: expected one common shape"):
    temporal.gae(ones, jnp.ones((2, 4)), discount=1.0, decay=1.0)
  with pytest.raises(ValueError, match="'bootstrap': \\(3,\\)"):
    temporal.gae(ones, ones, discount=1.0, decay=1.0, bootstrap=jnp.ones(3))
  with pytest.raises(ValueError, match="gae: decay must be in"):
    temporal.gae(ones, ones, discount=1.0, decay=1.1)
  with pytest.raises(ValueError, match="reward_to_go: discount must be in"):
    temporal.reward_to_go(ones, discount=-0.1)
