import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.environments import quests
from rewardjax.environments.quests import Quest, Sizes

SIZES = Sizes(width=3, objects=3, length=2)
KEYS = jax.random.split(jax.random.key(0), 64)


def quest(room, goals, taken=0):
  return Quest(jnp.array(room), jnp.array(goals), jnp.array(taken, jnp.int32))


STEP = jax.jit(lambda q, a: quests.step(q, a, SIZES))
RESET = jax.jit(lambda key: quests.reset(key, SIZES))
SHORTEST = jax.jit(lambda q: quests.shortest(q, SIZES))
EXPERT = jax.jit(lambda q: quests.expert(q, SIZES))


def walk(start, actions):
  found = []
  for action in actions:
    start, gained = STEP(start, jnp.array(action))
    found.append((int(start.room), int(start.taken), float(gained)))
  return found


def test_steps_by_hand():
  # Rooms 0 1 2 / 3 4 5 / 6 7 8; objects in 5 and 3.
  found = walk(quest(1, [5, 3]), [0, 4, 1, 3, 4, 2, 2, 2, 4, 1, 4])
  assert [x[0] for x in found] == [1, 1, 4, 5, 5, 4, 3, 3, 3, 3, 3]
  assert [x[1] for x in found] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
  assert [x[2] for x in found] == [0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]


def test_tokens_that_are_no_action_do_nothing():
  start = quest(5, [5, 3])
  for action in (5, 99, -7):
    after, gained = STEP(start, jnp.array(action))
    assert gained == 0
    if action >= quests.NUM_ACTIONS:
      assert after.room == 5


def test_observations_by_hand():
  see = lambda q: list(map(int, quests.observe(q, SIZES)))
  assert see(quest(1, [5, 3])) == [6, 10]
  assert see(quest(5, [5, 3], 1)) == [10, 8]
  assert see(quest(3, [5, 3], 2)) == [8, 14] and SIZES.vocab_size == 15


def breadth_first(start):
  """Another road to the shortest solution."""
  seen, layer, turns = set(), [start], 0
  while True:
    following = []
    for q in layer:
      if int(q.taken) == 2:
        return turns
      for action in range(5):
        after, _ = STEP(q, jnp.array(action))
        state = (int(after.room), int(after.taken))
        if state not in seen:
          seen.add(state)
          following.append(after)
    layer, turns = following, turns + 1


def test_the_expert_takes_the_shortest_way():
  for key in KEYS[:4]:
    start = RESET(key)
    best = breadth_first(start)
    assert int(SHORTEST(start)) == best <= SIZES.most_turns
    q, turns = start, 0
    while int(q.taken) < 2:
      q, _ = STEP(q, EXPERT(q))
      turns += 1
    assert turns == best


def uniform(params, tokens, length):
  del tokens, length
  return params


def follow(params, tokens, length):
  """The expert, read off the last observation alone."""
  room, goal = tokens[length - 2] - 5, tokens[length - 1] - 5
  action = quests.expert(Quest(room, goal[None], jnp.array(0)), SIZES)
  return params * jax.nn.one_hot(action, 5)


def plays(policy, params, num_turns):
  def one(key):
    start_key, key = jax.random.split(key)
    start = quests.reset(start_key, SIZES)
    made = quests.play(
        key, policy, params, start, SIZES, num_turns=num_turns
    )
    return start, made

  return jax.device_get(jax.jit(jax.vmap(one))(KEYS))


def test_observations_suffice_to_succeed():
  starts, made = plays(follow, jnp.array(1e3), SIZES.most_turns)
  assert np.all(made.success)
  turns = jax.device_get(
      jax.jit(jax.vmap(lambda q: quests.shortest(q, SIZES)))(starts)
  )
  np.testing.assert_array_equal(np.sum(made.mask, 1), turns)
  np.testing.assert_array_equal(np.sum(made.real, 1), 2 + 3 * turns)
  np.testing.assert_array_equal(np.sum(made.gained, 1), 2)
  assert np.all(made.tokens[~made.real] == 0)


def test_demonstrations_are_what_the_expert_plays():
  turns = SIZES.most_turns
  starts, made = plays(follow, jnp.array(1e3), turns)
  shown = jax.jit(
      jax.vmap(lambda q: quests.demonstrate(q, SIZES, num_turns=turns))
  )(starts)
  expected = np.where(made.real, made.tokens, -1)[:, 2:]
  np.testing.assert_array_equal(shown, expected)


def test_masks_and_log_probs_belong_to_actions():
  params = jnp.array([0.0, 1.0, 2.0, 0.0, 0.5])
  starts, made = plays(uniform, params, 4)
  assert not np.any(made.mask[:, :2]) and np.all(made.real[:, :5])
  assert np.all(made.tokens[made.mask] < quests.NUM_ACTIONS)
  others = made.real & ~made.mask
  assert np.all(made.tokens[others] >= quests.NUM_ACTIONS)
  log_p = np.asarray(params) - np.log(np.sum(np.exp(params)))
  expected = np.where(made.mask, log_p[np.minimum(made.tokens, 4)], 0)
  np.testing.assert_allclose(made.log_probs, expected, atol=1e-6)
  np.testing.assert_array_equal(
      made.turns[0], [-1, -1, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
  )
  del starts


def test_worlds_grow_and_refuse_more_goals_than_objects():
  big = Sizes(width=5, objects=7, length=4)
  q = quests.reset(KEYS[0], big)
  assert q.goals.shape == (4,) and np.all(q.goals < 25)
  with pytest.raises(ValueError, match="length must be in"):
    quests.reset(KEYS[0], Sizes(width=2, objects=1, length=2))
