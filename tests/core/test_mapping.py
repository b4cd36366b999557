import jax
import jax.numpy as jnp
import numpy as np

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
