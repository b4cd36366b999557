import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import exploration_bandits as tables
from rewardjax.recipes import policy_gradient

LOGITS = jnp.array([[0.5, -1.0, 0.0], [0.0, 2.0, -0.5]])
RIGHT = jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def rloo(log_probs, batch):
  return policy_gradient.rloo(log_probs, batch.rollouts, batch.reward)[0]


def test_a_batch_holds_what_was_drawn():
  batch = tables.draw(jax.random.key(0), LOGITS, RIGHT, group_size=5)
  tokens = np.asarray(batch.rollouts.tokens[..., 0])
  log_p = np.asarray(jax.nn.log_softmax(LOGITS))
  for b, g in np.ndindex(tokens.shape):
    expected = log_p[b, tokens[b, g]]
    actual = batch.rollouts.log_probs[b, g, 0]
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert batch.reward.value[b, g] == RIGHT[b, tokens[b, g]]


def test_a_step_is_that_of_each_prompt_alone():
  """Rate times the mean of A (one-hot - p), whatever the other prompts do."""
  batch = tables.draw(jax.random.key(1), LOGITS, RIGHT, group_size=5)
  after = tables.descend(LOGITS, batch, rloo, learning_rate=0.3)
  p = np.asarray(jax.nn.softmax(LOGITS), np.float64)
  for b in range(2):
    tokens = np.asarray(batch.rollouts.tokens[b, :, 0])
    r = np.asarray(batch.reward.value[b], np.float64)
    advantages = r - (r.sum() - r) / 4
    slope = np.mean(advantages[:, None] * (np.eye(3)[tokens] - p[b]), axis=0)
    np.testing.assert_allclose(after[b], LOGITS[b] + 0.3 * slope, atol=1e-6)


def test_learning_passes_what_was_spoiled_and_finds_the_right_arm():
  learn = lambda corrupt: tables.learn(
      jax.random.key(2), LOGITS, RIGHT, rloo, corrupt=corrupt,
      num_steps=150, group_size=8, learning_rate=1.0,
  )
  last, path = jax.jit(lambda: learn(lambda key, batch: batch))()
  assert path.shape == (150, 2, 3)
  np.testing.assert_array_equal(path[-1], last)
  assert jnp.all(jnp.sum(jax.nn.softmax(last) * RIGHT, axis=-1) > 0.9)

  def deafen(key, batch):
    silent = jnp.zeros_like(batch.reward.valid)
    return batch._replace(reward=batch.reward._replace(valid=silent))

  last, _ = jax.jit(lambda: learn(deafen))()
  np.testing.assert_array_equal(last, LOGITS)


def test_right_arms():
  right = tables.right_arms(2, 4, 3)
  np.testing.assert_array_equal(right, [[True, True, True, False]] * 2)
