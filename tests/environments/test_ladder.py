import itertools

import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.environments import ladder

SKILLS = jnp.array([0.4, -1.0, 0.2])
LEVELS = jnp.array([1, 3])


def test_needs_and_chances_by_hand():
  np.testing.assert_array_equal(
      ladder.needed(LEVELS, 3), [[True, False, False], [True] * 3]
  )
  p = 1 / (1 + np.exp(-np.asarray(SKILLS, np.float64)))
  np.testing.assert_allclose(
      ladder.success(SKILLS, LEVELS), [p[0], p.prod()], rtol=1e-6
  )
  # Five skills of .063: a chance of one in a million.
  hard = ladder.success(jnp.full(5, -2.7), jnp.array([5]))
  np.testing.assert_allclose(hard, 0.063**5, rtol=0.05)


def test_score_function_gives_the_exact_gradient():
  """Sums over all attempts at level 3."""
  outcomes = jnp.array(list(itertools.product([False, True], repeat=3)))
  levels = jnp.array([3])

  def weighted(worked):
    score = lambda s: ladder.log_prob(s, levels, worked[None, None])[0, 0]
    return jnp.exp(score(SKILLS)) * jnp.all(worked) * jax.grad(score)(SKILLS)

  total = jnp.exp(
      jax.vmap(lambda w: ladder.log_prob(SKILLS, levels, w[None, None]))(
          outcomes
      )
  )
  np.testing.assert_allclose(jnp.sum(total), 1, rtol=1e-6)
  actual = jnp.sum(jax.vmap(weighted)(outcomes), axis=0)
  expected = jax.grad(lambda s: ladder.success(s, levels)[0])(SKILLS)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_attempts_succeed_at_their_chance_and_try_what_is_needed():
  worked, passed = ladder.attempt(
      jax.random.key(0), SKILLS, LEVELS, num_samples=20_000
  )
  np.testing.assert_allclose(
      np.mean(passed, 1), ladder.success(SKILLS, LEVELS), atol=0.015
  )
  assert not np.any(worked[0, :, 1:])
  np.testing.assert_array_equal(passed[1], np.all(worked[1], -1))
