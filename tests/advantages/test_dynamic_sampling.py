import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import dynamic_sampling, group
from rewardjax.types import Reward

NAN = jnp.nan


def test_fill_groups_by_hand():
  groups = {"id": jnp.array([0, 1, 2, 3]), "x": jnp.ones((4, 2)) * NAN}
  fresh = {"id": jnp.array([10, 11, 12]), "x": jnp.arange(6.0).reshape(3, 2)}
  live = jnp.array([True, False, True, False])
  fresh_live = jnp.array([False, True, True])
  filled = jax.jit(dynamic_sampling.fill_groups)(
      groups, live, fresh, fresh_live
  )
  np.testing.assert_array_equal(filled.groups["id"], [0, 11, 2, 12])
  np.testing.assert_array_equal(filled.groups["x"][1], [2.0, 3.0])
  np.testing.assert_array_equal(filled.groups["x"][3], [4.0, 5.0])
  assert np.all(np.isnan(filled.groups["x"][jnp.array([0, 2])]))
  assert np.all(filled.live) and filled.num_dead == 0


@pytest.mark.parametrize("num_live", [0, 1, 2])
def test_fill_groups_with_too_few_fresh_ones(num_live):
  groups, live = jnp.arange(3), jnp.zeros(3, bool)
  fresh = jnp.array([10, 11])
  filled = dynamic_sampling.fill_groups(
      groups, live, fresh, jnp.arange(2) < num_live
  )
  expected = ([0, 1, 2], [10, 1, 2], [10, 11, 2])[num_live]
  np.testing.assert_array_equal(filled.groups, expected)
  np.testing.assert_array_equal(filled.live, jnp.arange(3) < num_live)
  assert filled.num_dead == 3 - num_live


def test_fill_groups_leaves_a_full_buffer_alone():
  filled = dynamic_sampling.fill_groups(
      jnp.arange(2), jnp.ones(2, bool), jnp.arange(5) + 10, jnp.ones(5, bool)
  )
  np.testing.assert_array_equal(filled.groups, [0, 1])


def _refill(max_attempts):
  """Attempt k samples outcomes whose group is live with chance 0.3."""

  def sample(attempt):
    key = jax.random.fold_in(jax.random.key(0), attempt)
    right = jax.random.bernoulli(key, 0.1, (8, 4)).astype(float)
    reward = Reward(right, jnp.ones_like(right, bool))
    return reward, group.informative(*reward)

  def go_on(carry):
    _, live, attempt = carry
    return ~jnp.all(live) & (attempt < max_attempts)

  def attempt(carry):
    groups, live, attempt = carry
    filled = dynamic_sampling.fill_groups(groups, live, *sample(attempt))
    return filled.groups, filled.live, attempt + 1

  start = (*sample(0), jnp.asarray(1))
  return jax.jit(lambda: jax.lax.while_loop(go_on, attempt, start))()


def test_refilling_in_a_while_loop_until_all_are_informative():
  """Pain 4: NeMo-RL #3469; whole groups are kept or replaced."""
  reward, live, attempts = _refill(max_attempts=50)
  assert np.all(live) and 1 < attempts < 50
  np.testing.assert_array_equal(group.informative(*reward), True)


def test_refilling_stops_at_the_cap():
  reward, live, attempts = _refill(max_attempts=2)
  assert attempts == 2 and not np.all(live)
  np.testing.assert_array_equal(group.informative(*reward), live)


def test_fill_groups_refuses_another_structure():
  with pytest.raises(ValueError, match="fill_groups: fresh must have"):
    dynamic_sampling.fill_groups(
        {"a": jnp.ones(2)}, jnp.ones(2, bool), jnp.ones(2), jnp.ones(2, bool)
    )
