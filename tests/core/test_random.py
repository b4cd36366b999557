import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import random
from tests import variants


def bits(keys):
  return np.asarray(jax.random.key_data(keys))


def test_split_named_gives_distinct_keys():
  key = jax.random.key(0)
  keys = random.split_named(key, "tokens", "noise", "appeal")
  assert list(keys) == ["tokens", "noise", "appeal"]
  distinct = {tuple(bits(k)) for k in keys.values()} | {tuple(bits(key))}
  assert len(distinct) == 4


def test_split_named_refuses_a_name_twice():
  with pytest.raises(ValueError, match="split_named: names must differ"):
    random.split_named(jax.random.key(0), "noise", "noise")


@variants.every
def test_keys_by_id_are_those_of_fold_in(variant):
  key = jax.random.key(3)
  ids = jnp.array([[7, 0, 7], [1, 2, 3]])
  keys = variant(lambda ids: random.keys_by_id(key, ids))(ids)
  assert keys.shape == (2, 3)
  expected = [[bits(jax.random.fold_in(key, i)) for i in r] for r in ids]
  np.testing.assert_array_equal(bits(keys), expected)


def test_a_draw_depends_on_the_example_not_on_its_place():
  key = jax.random.key(0)
  draw = jax.vmap(lambda k: jax.random.uniform(k, (2,)))
  order = np.array([3, 1, 0, 2])
  straight = draw(random.keys_by_id(key, jnp.arange(4)))
  shuffled = draw(random.keys_by_id(key, jnp.asarray(order)))
  np.testing.assert_array_equal(shuffled, straight[order])


def test_keys_by_id_of_no_axis_and_of_nobody():
  key = jax.random.key(0)
  assert random.keys_by_id(key, jnp.asarray(5)).shape == ()
  assert random.keys_by_id(key, jnp.zeros((0, 2), int)).shape == (0, 2)
