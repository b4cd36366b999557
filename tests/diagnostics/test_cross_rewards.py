import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.diagnostics import cross_rewards
from tests import variants

cross_rewards = variants.programs(cross_rewards)

NAN = jnp.nan
# Two policies, two samples, three rewards; the last is constant on the base.
BASE = jnp.array([[0.0, 1.0, 5.0], [2.0, 5.0, 5.0], [NAN, 3.0, 5.0]])
BASE_MASK = jnp.array([[True] * 3, [True] * 3, [False, True, True]])
TRAINED = jnp.array([
    [[2.0, 1.0, 6.0], [4.0, NAN, 8.0]],
    [[1.0, 3.0, NAN], [1.0, 3.0, NAN]],
])
MASK = jnp.array([
    [[True, True, True], [True, False, True]],
    [[True, True, False], [True, True, False]],
])


def test_matrix_by_hand():
  actual = jax.jit(cross_rewards.cross_reward_matrix)(
      TRAINED, BASE, MASK, BASE_MASK
  )
  # Base means 1, 3, 5; stds 1, sqrt(8/3), none.
  expected = [[2.0, -2 / np.sqrt(8 / 3), 2.0], [0.0, 0.0, 0.0]]
  np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)


def test_matrix_ignores_scale_and_offset_of_each_reward():
  random = np.random.default_rng(0)
  trained = random.normal(size=(2, 6, 3))
  base = random.normal(size=(9, 3))
  expected = (np.mean(trained, 1) - np.mean(base, 0)) / np.std(base, 0)
  trained, base = (jnp.asarray(x, jnp.float32) for x in (trained, base))
  once = cross_rewards.cross_reward_matrix(trained, base)
  np.testing.assert_allclose(once, expected, rtol=1e-4, atol=1e-5)
  scale, offset = jnp.array([[2.0, 0.1, 30.0]]), jnp.array([[1.0, -5.0, 0.0]])
  again = cross_rewards.cross_reward_matrix(
      trained * scale[None] + offset[None], base * scale + offset
  )
  np.testing.assert_allclose(again, once, rtol=1e-3, atol=1e-4)


def test_gradient_stays_finite_under_masks():
  total = lambda x, y: jnp.sum(
      cross_rewards.cross_reward_matrix(x, y, MASK, BASE_MASK)
  )
  to_trained, to_base = variants.grad(total, (0, 1))(TRAINED, BASE)
  assert np.all(np.isfinite(to_trained)) and np.all(np.isfinite(to_base))
  np.testing.assert_array_equal(to_trained[~MASK], 0.0)


def test_hacked_is_own_up_and_truth_down():
  changes = jnp.array([
      [1.0, 0.0, -0.1], [1.0, 0.0, 0.1], [-1.0, 0.0, -0.1], [1.0, -2.0, -0.1]
  ])
  own = jnp.array([[True, False, False]] * 3 + [[True, True, False]])
  found = cross_rewards.hacked(changes, own, truth=2)
  np.testing.assert_array_equal(found, [True, False, False, False])


def test_names_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match=r"'base_rewards': \(2,\)"):
    cross_rewards.cross_reward_matrix(TRAINED, BASE[:, :2])
  with pytest.raises(ValueError, match="hacked: .*'own'"):
    cross_rewards.hacked(jnp.ones((2, 3)), jnp.ones(3, bool), truth=0)
