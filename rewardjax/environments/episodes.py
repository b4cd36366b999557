"""Any world as token episodes: an action of the policy, then what it sees.

    observation | action | observation | action | observation ...

A world is functions; `quests.world`, `items.world` and `bandits.world` make
them. Actions are its first tokens. Only they are the policy's: `mask` is False
on observations.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from rewardjax.core import checks


class World(NamedTuple):
  """What `play` calls; a state is any pytree.

  num_actions: tokens 0 .. A-1 are actions (static).
  vocab_size: of actions and observations (static).
  reset: key -> state.
  observe: state -> tokens [W], as many in every state.
  step: (key, state, action) -> (state, gained): what the turn was worth.
  is_done: state -> whether the episode is over.
  is_won: state -> whether it was a success.
  """

  num_actions: int
  vocab_size: int
  reset: Callable
  observe: Callable
  step: Callable
  is_done: Callable
  is_won: Callable

  @property
  def window(self) -> int:
    """W, tokens of an observation."""
    state = jax.eval_shape(self.reset, jax.random.key(0))
    return jax.eval_shape(self.observe, state).shape[0]


class Episode(NamedTuple):
  """K turns as one row of T = W + K * (1 + W) tokens; the first W are given.

  tokens: see the module.
  mask: True on actions of turns before the end: the policy's own tokens.
  real: True on everything up to the end, observations included.
  turns: number of each token's turn, -1 on the first observation.
  log_probs: of the actions under the policy, 0 elsewhere.
  gained: what each turn gained; `success`: the episode was won.
  """

  tokens: Int[Array, " T"]
  mask: Bool[Array, " T"]
  real: Bool[Array, " T"]
  turns: Int[Array, " T"]
  log_probs: Float[Array, " T"]
  gained: Float[Array, " K"]
  success: Bool[Array, ""]


def play(
    key: Key[Array, ""],
    world: World,
    policy: Callable[..., Array],
    params: PyTree,
    state: PyTree,
    *,
    num_turns: int,
) -> Episode:
  """Plays at most `num_turns` turns; map it over keys and states.

  Args:
    key: consumed.
    world: static.
    policy: `(params, tokens [T], length) -> logits [A]` of the next action,
      `length` tokens being real so far (static).
    params: passed on.
    state: as the world stands.
    num_turns: K (static).

  Raises:
    ValueError: if `num_turns` is not positive.
  """
  checks.at_least("play", 1, num_turns=num_turns)
  first = world.observe(state)
  window = first.shape[0]
  size = 1 + window  # tokens of a turn
  tokens = jnp.zeros(window + num_turns * size, jnp.int32)
  tokens = tokens.at[:window].set(first)

  def turn(carry, now):
    state, tokens = carry
    k, key = now
    draw_key, step_key = jax.random.split(key)
    at = window + k * size
    alive = ~world.is_done(state)
    log_probs = jax.nn.log_softmax(policy(params, tokens, at))
    action = jax.random.categorical(draw_key, log_probs)
    after, gained = world.step(step_key, state, action)
    # A finished world goes on in silence: its turns are padding.
    after = jax.tree.map(lambda a, b: jnp.where(alive, a, b), after, state)
    said = jnp.concatenate([action[None], world.observe(after)])
    said = jnp.where(alive, said, 0).astype(tokens.dtype)
    tokens = jax.lax.dynamic_update_slice(tokens, said, (at,))
    log_prob = jnp.where(alive, log_probs[action], 0.0)
    return (after, tokens), (alive, log_prob, jnp.where(alive, gained, 0.0))

  inputs = jnp.arange(num_turns), jax.random.split(key, num_turns)
  (state, tokens), found = jax.lax.scan(turn, (state, tokens), inputs)
  return _episode(tokens, window, *found, world.is_won(state))


class Replay(NamedTuple):
  """What is known of K turns once their actions are.

  gained: of each turn; 0 after the end.
  alive: True on turns that took place.
  success: whether the episode was won.
  """

  gained: Float[Array, " K"]
  alive: Bool[Array, " K"]
  success: Bool[Array, ""]


def replay(
    key: Key[Array, ""], world: World, state: PyTree, actions: Int[Array, " K"]
) -> Replay:
  """Takes the actions once more, from where the episode started.

  Args:
    key: consumed by a world of chance, which goes its own way again; others
      repeat themselves, whatever the key.
    world: static.
    state: at the start.
    actions: of each turn; those after the end are not read.
  """

  def turn(state, now):
    key, action = now
    alive = ~world.is_done(state)
    after, gained = world.step(key, state, action)
    after = jax.tree.map(lambda a, b: jnp.where(alive, a, b), after, state)
    return after, (jnp.where(alive, gained, 0.0), alive)

  keys = jax.random.split(key, actions.shape[0])
  state, found = jax.lax.scan(turn, state, (keys, actions))
  return Replay(*found, world.is_won(state))


def _episode(tokens, window, alive, log_probs, gained, success):
  """Spreads what is known of each turn over its tokens."""
  places = jnp.arange(tokens.shape[0] - window)
  turns, first = places // (1 + window), places % (1 + window) == 0
  front = lambda x, fill: jnp.concatenate([jnp.full(window, fill, x.dtype), x])
  return Episode(
      tokens,
      front(first & alive[turns], False),
      front(alive[turns], True),
      front(turns, -1),
      front(jnp.where(first, log_probs[turns], 0.0), 0.0),
      gained,
      success,
  )
