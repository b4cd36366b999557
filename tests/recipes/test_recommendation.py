import jax
import jax.numpy as jnp
import numpy as np

from rewardjax.recipes import policy_gradient, recommendation
from rewardjax.types import Reward, Rollouts

RNG = np.random.default_rng(0)
SHAPE = (2, 4, 3)
LOG_PROBS = jnp.asarray(-RNG.random(SHAPE), jnp.float32)
ROLLOUTS = Rollouts(
    prompts=jnp.zeros((2, 1), int),
    prompt_mask=jnp.ones((2, 1), bool),
    tokens=jnp.zeros(SHAPE, int),
    mask=jnp.ones(SHAPE, bool),
    log_probs=LOG_PROBS,
    truncated=jnp.zeros((2, 4), bool),
)
HITS = jnp.array([[False, True, False, False], [False] * 4])
VALID = jnp.ones((2, 4), bool)


def loss(log_probs, valid=VALID):
  return recommendation.rere(log_probs, ROLLOUTS, HITS, valid)[0].value


def test_gradient_by_hand():
  """Advantages of the paper's example; no hit, no gradient."""
  slope = jax.grad(loss)(LOG_PROBS)
  advantages = np.array([-0.713536, 1.481561, -0.405375, -0.36265])
  expected = np.zeros(SHAPE)
  # Mean over 8 samples of means over 3 tokens, at ratio 1.
  expected[0] = -advantages[:, None] / 24
  np.testing.assert_allclose(slope, expected, atol=1e-5)


def test_invalid_beams_are_left_out():
  valid = VALID.at[0, 3].set(False)
  poisoned = LOG_PROBS.at[0, 3].set(jnp.nan)
  slope = jax.grad(loss)(poisoned, valid)
  assert np.all(np.isfinite(slope)) and np.all(slope[0, 3] == 0)
  assert np.any(slope[0, 0] != 0)


def test_without_the_ranks_it_would_be_grpo_on_hits():
  plain = policy_gradient.grpo(
      LOG_PROBS, ROLLOUTS, Reward(HITS.astype(float), VALID)
  )[0].value
  # Both sums of advantages are 0 at ratio 1; the gradients differ.
  np.testing.assert_allclose(loss(LOG_PROBS), plain, atol=1e-6)
  other = jax.grad(
      lambda lp: policy_gradient.grpo(
          lp, ROLLOUTS, Reward(HITS.astype(float), VALID)
      )[0].value
  )(LOG_PROBS)
  assert np.max(np.abs(other - jax.grad(loss)(LOG_PROBS))) > 1e-3
