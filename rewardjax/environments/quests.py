"""Quests over several turns, as token sequences with observations in between.

A world is a grid of W x W rooms, with O objects lying in them. A quest asks
for Q of them in order. A turn is one action of the policy: a step in one of
four directions, or taking what is asked for next; the world then answers with
two tokens, where the player is and where the next object lies:

    action | room, room of the next object | action | room, room ...

Actions are tokens 0 .. 4, room r is token 5 + r, and the last token says that
the quest is done. Only actions are the policy's: `mask` is False on the rest.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from rewardjax.core import checks
from rewardjax.environments import episodes
from rewardjax.environments.episodes import Episode, World

NUM_ACTIONS = 5
TAKE = 4


class Sizes(NamedTuple):
  """What makes a quest easy or hard; static."""

  width: int  # W, rooms on a side
  objects: int  # O
  length: int  # Q

  @property
  def vocab_size(self) -> int:
    """Actions, rooms and the mark of the end."""
    return NUM_ACTIONS + self.width**2 + 1

  @property
  def most_turns(self) -> int:
    """Turns that always suffice: cross the world for every object."""
    return self.length * (2 * (self.width - 1) + 1)


class Quest(NamedTuple):
  """One world in play.

  room: of the player.
  goals: rooms of the objects asked for, in order.
  taken: how many of them the player has.
  """

  room: Int[Array, ""]
  goals: Int[Array, " Q"]
  taken: Int[Array, ""]


def reset(key: Key[Array, ""], sizes: Sizes) -> Quest:
  """A random world; `key` is consumed.

  Raises:
    ValueError: if a size is not positive, or Q exceeds O.
  """
  checks.at_least("reset", 1, **sizes._asdict())
  checks.within("reset", 1, sizes.objects, length=sizes.length)
  room_key, place_key, order_key = jax.random.split(key, 3)
  rooms = sizes.width**2
  places = jax.random.randint(place_key, (sizes.objects,), 0, rooms)
  order = jax.random.permutation(order_key, sizes.objects)
  room = jax.random.randint(room_key, (), 0, rooms)
  goals = places[order][: sizes.length]
  return Quest(room, goals, jnp.zeros((), jnp.int32))


def is_done(quest: Quest) -> Bool[Array, ""]:
  """Whether every object has been taken."""
  return quest.taken >= quest.goals.shape[-1]


def observe(quest: Quest, sizes: Sizes) -> Int[Array, " 2"]:
  """Where the player is, and where the next object lies or that all is done."""
  last = quest.goals.shape[-1] - 1
  goal = quest.goals[jnp.minimum(quest.taken, last)]
  goal = jnp.where(is_done(quest), sizes.width**2, goal)
  return NUM_ACTIONS + jnp.stack([quest.room, goal])


def step(
    quest: Quest, action: Int[Array, ""], sizes: Sizes
) -> tuple[Quest, Float[Array, ""]]:
  """One action; returns the quest and 1.0 if the next object was taken.

  Actions 0 .. 3 go north, south, west and east; a wall stops them. Taking
  anything but the next object, and any other token, does nothing.
  """
  width = sizes.width
  row, column = quest.room // width, quest.room % width
  turn = jnp.clip(action, 0, NUM_ACTIONS)
  # One more entry: what is no action goes nowhere.
  row_step = jnp.array([-1, 1, 0, 0, 0, 0])[turn]
  column_step = jnp.array([0, 0, -1, 1, 0, 0])[turn]
  row = jnp.clip(row + row_step, 0, width - 1)
  column = jnp.clip(column + column_step, 0, width - 1)
  room = jnp.where(is_done(quest), quest.room, row * width + column)
  last = quest.goals.shape[-1] - 1
  here = quest.goals[jnp.minimum(quest.taken, last)] == quest.room
  gained = (action == TAKE) & here & ~is_done(quest)
  taken = quest.taken + gained.astype(quest.taken.dtype)
  return Quest(room, quest.goals, taken), gained.astype(jnp.float32)


def expert(quest: Quest, sizes: Sizes) -> Int[Array, ""]:
  """The action of a shortest solution: rows first, then columns, then take."""
  width = sizes.width
  last = quest.goals.shape[-1] - 1
  goal = quest.goals[jnp.minimum(quest.taken, last)]
  down = goal // width - quest.room // width
  right = goal % width - quest.room % width
  vertical = jnp.where(down < 0, 0, 1)
  horizontal = jnp.where(right < 0, 2, 3)
  move = jnp.where(down != 0, vertical, horizontal)
  return jnp.where((down == 0) & (right == 0), TAKE, move)


def demonstrate(
    quest: Quest, sizes: Sizes, *, num_turns: int
) -> Int[Array, " T"]:
  """What the expert does and sees in K turns: T = 3 K tokens, -1 if over."""

  def turn(quest, _):
    action = expert(quest, sizes)
    after, _ = step(quest, action, sizes)
    said = jnp.concatenate([action[None], observe(after, sizes)])
    return after, jnp.where(is_done(quest), -1, said)

  return jax.lax.scan(turn, quest, length=num_turns)[1].reshape(-1)


def shortest(quest: Quest, sizes: Sizes) -> Int[Array, ""]:
  """How many turns the quest takes at least, from where it stands."""
  width = sizes.width
  stops = jnp.concatenate([quest.room[None], quest.goals])
  ahead = jnp.arange(quest.goals.shape[-1]) >= quest.taken
  # From the player to the next goal, and on from goal to goal.
  first = jnp.arange(quest.goals.shape[-1]) == quest.taken
  start = jnp.where(first, quest.room, stops[:-1])
  rows = jnp.abs(quest.goals // width - start // width)
  columns = jnp.abs(quest.goals % width - start % width)
  return jnp.sum(jnp.where(ahead, rows + columns + 1, 0))


def world(sizes: Sizes) -> World:
  """Quests for `episodes.play`; won when every object has been taken."""
  return World(
      NUM_ACTIONS,
      sizes.vocab_size,
      reset=lambda key: reset(key, sizes),
      observe=lambda quest: observe(quest, sizes),
      step=lambda key, quest, action: step(quest, action, sizes),
      is_done=is_done,
      is_won=is_done,
  )


def play(
    key: Key[Array, ""],
    policy: Callable[..., Array],
    params: PyTree,
    quest: Quest,
    sizes: Sizes,
    *,
    num_turns: int,
) -> Episode:
  """`episodes.play` in the world of these sizes; `key` is consumed."""
  return episodes.play(
      key, world(sizes), policy, params, quest, num_turns=num_turns
  )
