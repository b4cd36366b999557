import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.recipes import flow
from rewardjax.types import Reward, Rollouts

RNG = np.random.default_rng(0)
SHAPE = (1, 2, 3)
MASK = jnp.array([[[True] * 3, [True, True, False]]])
LOG_PROBS = jnp.asarray(-RNG.random(SHAPE), jnp.float32)
ROLLOUTS = Rollouts(
    prompts=jnp.zeros((1, 1), int),
    prompt_mask=jnp.ones((1, 1), bool),
    tokens=jnp.zeros(SHAPE, int),
    mask=MASK,
    log_probs=LOG_PROBS,
    truncated=jnp.zeros((1, 2), bool),
)
SCORES = jnp.array([[[0.0, 2.0, 1.0], [3.0, 1.0, jnp.nan]]])


def reward(second=True):
  return Reward(jnp.array([[1.0, 0.0]]), jnp.array([[True, second]]))


def test_credit_by_hand():
  credit = flow.flow_credit(ROLLOUTS, reward(), SCORES, coefficient=0.1)
  # Outcomes +-.5 at the end; the worst token of each sample costs .1.
  expected = [[0.4, 0.4, 0.5], [-0.6, -0.5, 0]]
  np.testing.assert_allclose(credit.advantages[0], expected, atol=1e-6)
  half = flow.flow_credit(
      ROLLOUTS, reward(), SCORES, coefficient=0.0, discount=0.5
  )
  np.testing.assert_allclose(half.advantages[0, 0], [0.125, 0.25, 0.5])


def test_gradient_by_hand_and_masks():
  loss = lambda lp: flow.rlfr(lp, ROLLOUTS, reward(), SCORES, coefficient=0.1)
  poisoned = jnp.where(MASK, LOG_PROBS, jnp.nan)
  slope = jax.grad(lambda lp: loss(lp)[0].value)(poisoned)
  expected = [[-0.4 / 6, -0.4 / 6, -0.5 / 6], [0.6 / 4, 0.5 / 4, 0]]
  np.testing.assert_allclose(slope[0], expected, atol=1e-6)


def test_samples_without_a_known_outcome_are_left_out():
  loss = lambda lp: flow.rlfr(lp, ROLLOUTS, reward(False), SCORES)[0].value
  slope = np.asarray(jax.jit(jax.grad(loss))(LOG_PROBS))
  np.testing.assert_array_equal(slope[0, 1], 0.0)
  # A lone sample has no advantage; its flow reward is left.
  np.testing.assert_allclose(slope[0, 0], [0.01 / 3, 0.01 / 3, 0], atol=1e-7)
