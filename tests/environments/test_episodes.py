import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.environments import bandits, episodes, items, quests
from rewardjax.types import NoiseRates

SHOP = items.Shop(
    jnp.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
    jnp.arange(3)[:, None],
)
ARMS = bandits.one_right_arm(
    jax.random.key(1), NoiseRates(0.2, 0.1), num_prompts=5, num_arms=3
)
WORLDS = {
    "quests": quests.world(quests.Sizes(width=2, objects=2, length=1)),
    "items": items.world(SHOP),
    "bandits": bandits.world(ARMS),
}
KEYS = jax.random.split(jax.random.key(0), 64)


def plays(world, policy, num_turns):
  def one(key):
    start_key, key = jax.random.split(key)
    state = world.reset(start_key)
    params = jnp.zeros(())
    return episodes.play(
        key, world, policy, params, state, num_turns=num_turns
    )

  return jax.device_get(jax.jit(jax.vmap(one))(KEYS))


@pytest.mark.parametrize("name", list(WORLDS))
def test_tokens_are_actions_and_observations_in_turn(name):
  world = WORLDS[name]
  uniform = lambda params, tokens, length: jnp.zeros(world.num_actions)
  made = plays(world, uniform, 4)
  window = world.window
  assert made.tokens.shape == (64, window + 4 * (1 + window))
  own, seen = made.mask, made.real & ~made.mask
  assert np.all(made.tokens[own] < world.num_actions)
  assert np.all(made.tokens[seen] >= world.num_actions)
  assert np.all(made.tokens < world.vocab_size)
  assert np.all(made.tokens[~made.real] == 0)
  np.testing.assert_allclose(
      made.log_probs, np.where(own, -np.log(world.num_actions), 0), rtol=1e-6
  )
  turns = np.sum(own, axis=1)
  np.testing.assert_array_equal(
      np.sum(made.real, axis=1), window + turns * (1 + window)
  )
  played = np.arange(4)[None] < turns[:, None]
  assert np.all(np.asarray(made.gained)[~played] == 0)
  assert 0 < np.mean(made.success) < 1


def test_a_bandit_is_one_pull():
  world = WORLDS["bandits"]
  right = jnp.asarray(np.argmax(ARMS.correct, axis=1))
  best = lambda params, tokens, length: 50 * jax.nn.one_hot(
      right[tokens[length - 1] - 3], 3
  )
  made = plays(world, best, 2)
  np.testing.assert_array_equal(np.sum(made.mask, axis=1), 1)
  # Right arms pay, though the verifier would reject a tenth of them.
  np.testing.assert_array_equal(made.gained, [[1, 0]] * 64)
  assert np.all(made.success)


def test_customers_buy_by_the_chain_whatever_is_recommended():
  world = WORLDS["items"]
  follow = lambda params, tokens, length: 50 * jax.nn.one_hot(
      (tokens[length - 1] - 3 + 1) % 3, 3
  )
  made = plays(world, follow, 3)
  np.testing.assert_array_equal(made.gained, np.ones((64, 3)))
  stay = lambda params, tokens, length: 50 * jax.nn.one_hot(
      tokens[length - 1] - 3, 3
  )
  missed = plays(world, stay, 3)
  np.testing.assert_array_equal(missed.gained, np.zeros((64, 3)))
  assert not np.any(missed.success)
  np.testing.assert_array_equal(missed.tokens[:, 2::2], made.tokens[:, 2::2])


def test_no_turn_is_an_error():
  world = WORLDS["bandits"]
  with pytest.raises(ValueError, match="num_turns must be in .*got 0"):
    plays(world, lambda *args: jnp.zeros(3), 0)


def test_a_replay_finds_what_a_play_gained():
  world = WORLDS["quests"]
  uniform = lambda params, tokens, length: jnp.zeros(world.num_actions)
  made = plays(world, uniform, 4)
  actions = np.where(made.mask, made.tokens, 99)[:, 2::3]

  def one(key, actions):
    state = world.reset(jax.random.split(key)[0])
    return episodes.replay(jax.random.key(9), world, state, actions)

  again = jax.jit(jax.vmap(one))(KEYS, actions)
  np.testing.assert_array_equal(again.gained, made.gained)
  np.testing.assert_array_equal(again.alive, made.mask[:, 2::3])
  np.testing.assert_array_equal(again.success, made.success)
