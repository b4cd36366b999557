import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import packing

first_fit = jax.jit(
    packing.first_fit, static_argnames=("lanes", "room", "width")
)


def test_first_fit_by_hand():
  """Lengths 5, 1, 3, 2 into two lanes of 8: [5, 3] and [2, 1]."""
  lengths = np.array([5, 1, 3, 2])
  plan = first_fit(lengths, lanes=2, room=8, width=5)
  np.testing.assert_array_equal(plan.slot, [0, 10, 5, 8])
  np.testing.assert_array_equal(
      plan.segments, [[0, 0, 0, 0, 0, 2, 2, 2], [3, 3, 1, 4, 4, 4, 4, 4]]
  )
  assert plan.fits and np.all(plan.placed)
  x = 10 * np.arange(4)[:, None] + np.arange(5)
  packed = np.asarray(jax.jit(packing.pack)(plan, x))
  np.testing.assert_array_equal(packed[0], [0, 1, 2, 3, 4, 20, 21, 22])
  np.testing.assert_array_equal(packed[1, :3], [30, 31, 10])
  np.testing.assert_array_equal(np.sum(plan.mask, axis=1), [8, 3])


def test_unpacking_is_the_inverse_where_something_stood():
  random = np.random.default_rng(0)
  lengths = random.integers(0, 8, (3, 5, 6))
  x = random.normal(size=(3, 5, 6, 7)).astype(np.float32)
  here = np.arange(7) < lengths[..., None]
  poisoned = np.where(here, x, np.nan)

  @functools.partial(jax.jit, static_argnums=2)
  def there_and_back(lengths, x, lanes):
    plan = packing.first_fit(lengths, lanes=lanes, room=9, width=7)
    packed = packing.pack(plan, x)
    assert packed.shape == (3, 5, lanes, 9)
    packed = jnp.where(plan.mask, packed, jnp.nan)
    return packing.unpack(plan, packed, 7), plan.placed

  for lanes in (2, 6):
    back, placed = there_and_back(lengths, poisoned, lanes)
    expected = np.where(here & np.asarray(placed)[..., None], x, 0.0)
    np.testing.assert_array_equal(back, expected)


def test_what_finds_no_room_is_left_out_whole():
  lengths = np.array([[3, 3, 3], [3, 2, 1]])
  plan = first_fit(lengths, lanes=1, room=7, width=3)
  np.testing.assert_array_equal(plan.fits, [False, True])
  placed, mask = np.asarray(plan.placed), np.asarray(plan.mask)
  np.testing.assert_array_equal(placed[0], [True, True, False])
  assert np.sum(mask[0]) == 6


def test_nothing_takes_no_room():
  plan = first_fit(np.zeros(3, np.int32), lanes=1, room=1, width=4)
  assert plan.fits and not np.any(plan.mask)
  unpack = jax.jit(packing.unpack, static_argnums=2)
  back = unpack(plan, np.ones((1, 1), np.float32), 4)
  np.testing.assert_array_equal(back, np.zeros((3, 4)))


def test_gradients_return_to_what_was_packed():
  plan = first_fit(np.array([2, 3]), lanes=1, room=6, width=3)
  weights = np.arange(6, dtype=np.float32).reshape(1, 6)
  f = lambda x: jnp.sum(
      jnp.where(plan.mask, weights * packing.pack(plan, x), 0.0)
  )
  grad = jax.jit(jax.grad(f))(np.ones((2, 3), np.float32))
  np.testing.assert_array_equal(grad, [[3.0, 4.0, 0.0], [0.0, 1.0, 2.0]])


def test_sizes_without_meaning_are_refused():
  with pytest.raises(ValueError, match="first_fit: lanes"):
    packing.first_fit(jnp.array([1]), lanes=0, room=1, width=1)
