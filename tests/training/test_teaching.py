import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import group
from rewardjax.training import teaching

KEY = jax.random.key(0)


def step(key, student, problems):
  """Moves by the mean of the problems, with a little noise."""
  noise = 0.01 * jax.random.normal(key)
  return {"w": student["w"] + jnp.mean(problems) + noise}


def measure(key, student):
  return student["w"] + 0.1 * jax.random.normal(key)


STUDENT = {"w": jnp.array(1.0)}
SETS = jnp.array([[0.5, 0.5], [-1.0, 1.0], [0.5, 0.5], [2.0, 2.0]])


def taught(sets=SETS, **options):
  options = dict(num_steps=3, num_repeats=2) | options
  return jax.jit(
      lambda key: teaching.grounded_rewards(
          key, step, measure, STUDENT, sets, **options
      )
  )(KEY)


def test_rewards_are_progress():
  found = taught()
  np.testing.assert_allclose(found.rewards, [1.5, 0, 1.5, 6], atol=0.1)
  assert found.students["w"].shape == (4,)
  np.testing.assert_array_equal(STUDENT["w"], 1.0)


def test_equal_sets_earn_the_same_and_teach_the_teacher_nothing():
  found = taught(jnp.broadcast_to(SETS[:1], SETS.shape))
  assert len(set(np.asarray(found.rewards).tolist())) == 1
  np.testing.assert_array_equal(group.leave_one_out(found.rewards), 0.0)


def test_a_set_without_effect_earns_exactly_nothing():
  """Before and after are measured with the same key."""
  still = lambda key, student, problems: student
  found = teaching.grounded_rewards(
      KEY, still, measure, STUDENT, SETS, num_steps=2
  )
  np.testing.assert_array_equal(found.rewards, 0.0)
  np.testing.assert_array_equal(found.students["w"], 1.0)


def test_inner_training_is_a_loop_of_steps():
  keys = jax.random.split(KEY, 4)
  expected = STUDENT
  for key in keys:
    expected = step(key, expected, SETS[0])
  actual = teaching.inner_train(step, STUDENT, SETS[0], KEY, num_steps=4)
  np.testing.assert_allclose(actual["w"], expected["w"], rtol=1e-6)


def outcome(rewards):
  rewards = jnp.array(rewards)
  return teaching.Taught(rewards, {"w": 10 + jnp.arange(len(rewards) * 1.0)})


def test_promotion_waits_for_the_average():
  state = teaching.init_promotion(STUDENT)
  state, done = teaching.promote(state, outcome([0.01, 0.01]))
  assert not done and state.student["w"] == 1.0  # not above the threshold
  state, done = teaching.promote(state, outcome([0.01, 0.02]))
  # The average is (.01 + .015) / 2 = .0125.
  assert done and state.student["w"] == 11.0
  assert (state.average, state.steps, state.promotions) == (0, 0, 1)
  state, done = teaching.promote(state, outcome([0.0, -0.3]))
  assert not done and state.student["w"] == 11.0


def test_a_harmful_set_is_never_followed():
  state = teaching.init_promotion(STUDENT)._replace(
      average=jnp.array(9.0), steps=jnp.array(3)
  )
  state, done = teaching.promote(state, outcome([-0.1, -0.2]))
  assert not done and state.student["w"] == 1.0


def test_learnability_by_hand():
  found = teaching.learnability(jnp.array([0.0, 0.25, 0.5, 1.0]))
  np.testing.assert_allclose(found, [0, 0.5, 1, 0])


def test_errors_name_the_argument():
  with pytest.raises(ValueError, match="num_repeats must be in"):
    taught(num_repeats=0)
  with pytest.raises(ValueError, match="num_steps must be in"):
    taught(num_steps=0)
  with pytest.raises(ValueError, match="decay must be in"):
    teaching.promote(
        teaching.init_promotion(STUDENT), outcome([0.1]), decay=2.0
    )
