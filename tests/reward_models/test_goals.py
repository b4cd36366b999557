import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.reward_models import goals

NAN = jnp.nan
FEATURES = jnp.array([
    [[1.0, 0.0], [3.0, 4.0], [NAN, NAN]],
    [[0.0, 2.0], [0.0, 0.0], [1.0, 0.0]],
    [[NAN, NAN]] * 3,
])
MASK = jnp.array([[1, 1, 0], [1, 1, 1], [0, 0, 0]], bool)


def test_goal_is_the_mean_of_last_tokens():
  found = jax.jit(goals.goal_state)(FEATURES, MASK)
  np.testing.assert_allclose(found, [2.0, 2.0])
  slope = jax.grad(lambda x: jnp.sum(goals.goal_state(x, MASK)))(FEATURES)
  expected = np.zeros(FEATURES.shape)
  expected[0, 1] = expected[1, 2] = 0.5
  np.testing.assert_array_equal(slope, expected)


def test_trace_by_hand_and_without_scale():
  goal = jnp.array([1.0, 0.0])
  found = jax.jit(goals.cosine_trace)(FEATURES, goal, MASK)
  expected = [[1, 0.6, 0], [0, 0, 1], [0, 0, 0]]
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  again = goals.cosine_trace(7 * FEATURES, 0.1 * goal, MASK)
  np.testing.assert_allclose(again, expected, rtol=1e-6)


def test_trace_gradient_is_finite_under_masks():
  total = lambda x, g: jnp.sum(goals.cosine_trace(x, g, MASK))
  slopes = jax.grad(total, (0, 1))(FEATURES, jnp.array([1.0, 1.0]))
  assert all(np.all(np.isfinite(x)) for x in slopes)
  np.testing.assert_array_equal(slopes[0][~MASK], 0.0)


def test_names_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="goal_state: .*'mask'"):
    goals.goal_state(FEATURES, MASK[:2])
  with pytest.raises(ValueError, match=r"cosine_trace: .*'goal': \(3,\)"):
    goals.cosine_trace(FEATURES, jnp.ones(3), MASK)
