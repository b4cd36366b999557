import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.core import mapping

ROWS = jnp.array([[True, False], [False, False]])


def test_without_vmap_it_is_any_and_all():
  assert mapping.any_mapped(ROWS[0]) and not mapping.any_mapped(ROWS[1])
  assert mapping.all_mapped(ROWS[0, :1]) and not mapping.all_mapped(ROWS[0])


def test_every_member_gets_the_answer_of_all():
  each = jax.vmap(lambda x: (mapping.any_mapped(x), mapping.all_mapped(~x)))
  some, none = each(ROWS)
  np.testing.assert_array_equal(some, [True, True])
  np.testing.assert_array_equal(none, [False, False])
  twice = jax.vmap(jax.vmap(mapping.any_mapped))(ROWS[:, None])
  np.testing.assert_array_equal(twice, [[True], [True]])


def test_a_branch_stays_a_branch_under_vmap():
  """With a mapped predicate `cond` becomes a select of both sides."""
  find = lambda question: str(
      jax.make_jaxpr(
          jax.vmap(lambda x: jax.lax.cond(question(x), jnp.sin, jnp.cos, 1.0))
      )(ROWS)
  )
  assert " cond[" in find(mapping.all_mapped)
  assert " cond[" not in find(jnp.all)


@pytest.mark.parametrize("count", [1, 3])
def test_members_equal_those_of_vmap(count):
  """One alone is computed without an axis, and nobody can tell."""
  keys = jax.random.split(jax.random.key(0), count)
  x = jnp.arange(2.0 * count).reshape(count, 2)

  def one(member, shared):
    drawn = jax.random.uniform(member["key"]) + member["x"].ndim
    return {"x": member["x"] * shared + drawn, "key": member["key"]}, 3.0

  args = {"x": x, "key": keys}, jnp.array([2.0, 5.0])
  actual = jax.jit(mapping.over_members(one, (0, None)))(*args)
  expected = jax.vmap(one, (0, None), axis_size=count)(*args)
  chex.assert_trees_all_equal(
      *(jax.random.key_data(tree[0]["key"]) for tree in (actual, expected))
  )
  np.testing.assert_allclose(actual[0]["x"], expected[0]["x"], rtol=1e-6)
  assert actual[1].shape == expected[1].shape == (count,)


def test_one_member_takes_no_axis_of_one_along():
  f = lambda x, y: x @ y
  jaxpr = lambda count: str(
      jax.make_jaxpr(mapping.over_members(f, (0, None)))(
          jnp.ones((count, 3, 4)), jnp.ones((4, 5))
      )
  )
  assert "f32[3,5] = dot_general" in jaxpr(1)
  assert "f32[2,3,5] = dot_general" in jaxpr(2)


def test_others_are_reached_by_the_name_of_the_axis():
  total = mapping.over_members(
      lambda x: jax.lax.psum(x, "members"), (0,), "members"
  )
  np.testing.assert_array_equal(total(jnp.arange(3)), [3, 3, 3])
