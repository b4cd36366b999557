"""Worlds that a language model plays in, over several turns.

The tokens of a world are those of the model's tokenizer, one for each symbol:
an action is one token of the model, any token, and those that are no action
do nothing.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections as mlc
import numpy as np
from jaxtyping import Array, Int, PyTree

from rewardjax.environments import episodes, quests
from rewardjax.environments.episodes import Replay, World
from rewardjax.policies.turns import Responder

# Of quests: north, south, west, east and take; rooms; all is done.
ACTIONS, ROOMS, DONE = "nswet", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "."
QUEST_TURN = 3  # tokens: an action, the room, the room of the next goal


class Spoken(NamedTuple):
  """A world, and how it is spoken of; all of it is static.

  world: without chance: the same actions lead to the same end.
  restore: integers `[S]` of a row to the state where its episodes start.
  ids: the tokenizer's id of each symbol of the world.
  pad: its id of padding.
  num_turns: K, of an episode at most.
  """

  world: World
  restore: Callable
  ids: tuple[int, ...]
  pad: int
  num_turns: int

  @property
  def size(self) -> int:
    """Tokens of a turn: an action and what it led to."""
    return 1 + self.world.window

  def states(self, start: Int[Array, "B S"]) -> PyTree:
    """Where the episodes of each row start."""
    return jax.vmap(self.restore)(start)

  def symbol(self, token: Int[Array, ""]) -> Int[Array, ""]:
    """What a token means to the world; V, which is no symbol, if nothing."""
    same = jnp.asarray(self.ids, token.dtype) == token
    return jnp.where(jnp.any(same), jnp.argmax(same), len(self.ids))

  def responder(self) -> Responder:
    """The world as `policies.turns.sample` asks it."""
    step = lambda key, state, token: self.world.step(
        key, state, self.symbol(token)
    )[0]
    observe = lambda state: jnp.asarray(self.ids)[self.world.observe(state)]
    return Responder(step, observe, self.world.is_done)

  def replay(
      self, start: Int[Array, "B S"], tokens: Int[Array, "B G T"]
  ) -> Replay:
    """What episodes `[B, G]` were worth, read off their actions."""
    key = jax.random.key(0)  # of a world without chance

    def one(state, tokens):
      actions = jax.vmap(self.symbol)(tokens[:: self.size])
      return episodes.replay(key, self.world, state, actions)

    each = jax.vmap(jax.vmap(one, (None, 0)))
    return each(self.states(start), tokens)

  def encode(self, shown: Int[np.ndarray, "N T"]):
    """Demonstrations, -1 where they are over, as tokens and two masks.

    Returns:
      The tokens, True on actions, and True on all that is real.
    """
    real = shown >= 0
    tokens = np.where(real, np.asarray(self.ids)[shown], self.pad)
    first = np.arange(shown.shape[1]) % self.size == 0
    return tokens.astype(np.int32), real & first, real


def symbols(sizes: quests.Sizes) -> str:
  """A character for every token of a quest's world."""
  return ACTIONS + ROOMS[: sizes.width**2] + DONE


def quest_rows(
    sizes: quests.Sizes, *, seed: int, num_rows: int, num_turns: int
) -> list[dict]:
  """Random quests and the expert's way through each.

  A prompt names the later goals, the last one first, then the room and the
  next goal, as every observation does. `start` is what `restore` reads.
  """

  def make(key):
    quest = quests.reset(key, sizes)
    start = jnp.concatenate([quest.room[None], quest.goals])
    return start, quests.demonstrate(quest, sizes, num_turns=num_turns)

  keys = jax.random.split(jax.random.key(seed), num_rows)
  starts, shown = jax.device_get(jax.jit(jax.vmap(make))(keys))
  table = symbols(sizes)
  spell = lambda ids: "".join(table[i] for i in ids if i >= 0)
  asked = lambda room, goals: [*goals[:0:-1], room, goals[0]]
  rooms = lambda start: quests.NUM_ACTIONS + start
  return [
      {
          "prompt": spell(asked(rooms(start)[0], rooms(start)[1:])),
          "answer": spell(episode),
          "kind": 0,
          "start": start,
          "episode": episode,
      }
      for start, episode in zip(starts, shown)
  ]


def _restore(start: Int[Array, " S"]) -> quests.Quest:
  return quests.Quest(start[0], start[1:], jnp.zeros((), jnp.int32))


def sizes_of(options: mlc.ConfigDict) -> quests.Sizes:
  """Of `config.task.quests`."""
  return quests.Sizes(**options.quests)


def make(config: mlc.ConfigDict, tokenizer) -> Spoken | None:
  """The world of the config's task; None if it has but one turn.

  Raises:
    ValueError: naming the field, unless every symbol is one token.
  """
  options = config.task
  if not options.turns:
    return None
  sizes = sizes_of(options)
  return Spoken(
      quests.world(sizes),
      _restore,
      _ids(tokenizer, symbols(sizes), options.tokenizer),
      tokenizer.pad,
      options.turns,
  )


def _ids(tokenizer, table: Sequence[str], name: str) -> tuple[int, ...]:
  found = []
  for symbol in table:
    try:
      ids = tokenizer.encode(symbol)
    except ValueError as error:
      raise ValueError(
          f"config.task.tokenizer {name!r} cannot say {symbol!r}: {error}"
      ) from error
    if len(ids) != 1:
      raise ValueError(
          f"config.task.tokenizer {name!r} must have one token for {symbol!r}, "
          f"got {len(ids)}."
      )
    found += ids
  if len(set(found)) < len(found):
    raise ValueError(
        f"config.task.tokenizer {name!r} must tell the symbols {table!r} "
        f"apart, got the tokens {found}."
    )
  return tuple(found)
