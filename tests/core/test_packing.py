import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import packing


def test_first_fit_by_hand():
  """Lengths 5, 1, 3, 2 into two lanes of 8: [5, 3] and [2, 1]."""
  lengths = jnp.array([5, 1, 3, 2])
  plan = packing.first_fit(lengths, lanes=2, room=8, width=5)
  np.testing.assert_array_equal(plan.slot, [0, 10, 5, 8])
  np.testing.assert_array_equal(
      plan.segments, [[0, 0, 0, 0, 0, 2, 2, 2], [3, 3, 1, 4, 4, 4, 4, 4]]
  )
  assert plan.fits and jnp.all(plan.placed)
  x = 10 * jnp.arange(4)[:, None] + jnp.arange(5)[None]
  packed = packing.pack(plan, x)
  np.testing.assert_array_equal(packed[0], [0, 1, 2, 3, 4, 20, 21, 22])
  np.testing.assert_array_equal(packed[1, :3], [30, 31, 10])
  np.testing.assert_array_equal(jnp.sum(plan.mask, axis=1), [8, 3])


def test_unpacking_is_the_inverse_where_something_stood():
  key = jax.random.key(0)
  for lanes in (2, 3, 6):
    lengths = jax.random.randint(key, (3, 5, 6), 0, 8)
    plan = packing.first_fit(lengths, lanes=lanes, room=9, width=7)
    x = jax.random.normal(key, (3, 5, 6, 7))
    here = jnp.arange(7)[None, None, None] < lengths[..., None]
    poisoned = jnp.where(here, x, jnp.nan)
    packed = packing.pack(plan, poisoned)
    assert packed.shape == (3, 5, lanes, 9)
    packed = jnp.where(plan.mask, packed, jnp.nan)
    back = packing.unpack(plan, packed, 7)
    expected = jnp.where(here & plan.placed[..., None], x, 0.0)
    np.testing.assert_array_equal(back, expected)


def test_what_finds_no_room_is_left_out_whole():
  lengths = jnp.array([[3, 3, 3], [3, 2, 1]])
  plan = packing.first_fit(lengths, lanes=1, room=7, width=3)
  np.testing.assert_array_equal(plan.fits, [False, True])
  np.testing.assert_array_equal(plan.placed[0], [True, True, False])
  assert int(jnp.sum(plan.mask[0])) == 6


def test_nothing_takes_no_room():
  plan = packing.first_fit(jnp.zeros(3, jnp.int32), lanes=1, room=1, width=4)
  assert plan.fits and not jnp.any(plan.mask)
  ones = jnp.ones((1, 1))
  np.testing.assert_array_equal(packing.unpack(plan, ones, 4), np.zeros((3, 4)))


def test_gradients_return_to_what_was_packed():
  lengths = jnp.array([2, 3])
  plan = packing.first_fit(lengths, lanes=1, room=6, width=3)
  weights = jnp.arange(6.0).reshape(1, 6)
  f = lambda x: jnp.sum(
      jnp.where(plan.mask, weights * packing.pack(plan, x), 0.0)
  )
  grad = jax.grad(f)(jnp.ones((2, 3)))
  np.testing.assert_array_equal(grad, [[3.0, 4.0, 0.0], [0.0, 1.0, 2.0]])


def test_sizes_without_meaning_are_refused():
  with pytest.raises(ValueError, match="first_fit: lanes"):
    packing.first_fit(jnp.array([1]), lanes=0, room=1, width=1)
