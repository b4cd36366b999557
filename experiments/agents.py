"""Small agents in any world of `rewardjax.environments`: try one in a line.

    params, success = agents.learn(key, world, agents.Setup(...))

The policy and the critic read the last observation alone, which says all
there is to know in the worlds that this library has.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from experiments import on_policy
from experiments.choices import choose
from rewardjax.core import probability, reduction
from rewardjax.environments import episodes
from rewardjax.environments.episodes import Episode, World
from rewardjax.recipes import actor_critic, policy_gradient, turns
from rewardjax.shaping import turns as turn_rewards
from rewardjax.types import Rollouts, Scalar

Algorithm = Literal["ppo", "grpo", "rloo"]


class Setup(NamedTuple):
  """How an agent learns.

  num_turns: of an episode, at most.
  most: gains of a complete episode, as far as known; for dense rewards.
  dense: 1 pays what turns gain, 0 only success, on the last turn.
  batch_size, group_size: starts of episodes, and episodes from each.
  """

  algorithm: Algorithm
  num_turns: int
  most: Scalar
  dense: Scalar
  batch_size: int
  group_size: int
  num_steps: int
  learning_rate: float
  width: int = 32


class Net(NamedTuple):
  """tanh(sum of the embeddings of an observation) out + bias."""

  embed: Float[Array, "W V D"]
  out: Float[Array, "D A"]
  bias: Float[Array, " A"]


class Agent(NamedTuple):
  """A policy over actions and a critic."""

  actor: Net
  critic: Net


def init(key: Key[Array, ""], world: World, width: int) -> Agent:
  """Random readers; all actions alike, all values 0. `key` is consumed."""
  shape = (world.window, world.vocab_size, width)

  def net(key, size):
    embed = jax.random.normal(key, shape)
    return Net(embed, jnp.zeros((width, size)), jnp.zeros(size))

  actor_key, critic_key = jax.random.split(key)
  return Agent(net(actor_key, world.num_actions), net(critic_key, 1))


def _read(net, seen):
  """Outputs after observations `[.., W]`."""
  places = jnp.arange(seen.shape[-1]).reshape((1,) * (seen.ndim - 1) + (-1,))
  hidden = jnp.tanh(jnp.sum(net.embed[places, seen], axis=-2))
  out = hidden @ net.out
  return out + net.bias.reshape((1,) * (out.ndim - 1) + (-1,))


def policy(params: Agent, tokens: Array, length: Array) -> Array:
  """Logits of the next action, as `episodes.play` asks for them."""
  window = params.actor.embed.shape[0]
  seen = jax.lax.dynamic_slice(tokens, (length - window,), (window,))
  return _read(params.actor, seen)


def _seen_before(tokens, window):
  """The W tokens before each token, `[.., T, W]`; the first W are nonsense."""
  return jnp.stack(
      [jnp.roll(tokens, window - i, axis=-1) for i in range(window)], axis=-1
  )


def log_probs(params: Agent, played: Episode) -> Float[Array, "B G T"]:
  """Of the actions; 0 on observations."""
  seen = _seen_before(played.tokens, params.actor.embed.shape[0])
  actions = jnp.where(played.mask, played.tokens, 0)
  found = probability.token_log_probs(_read(params.actor, seen), actions)
  return jnp.where(played.mask, found, 0.0)


def values(params: Agent, played: Episode) -> Float[Array, "B G T"]:
  """Of the critic before each token."""
  seen = _seen_before(played.tokens, params.critic.embed.shape[0])
  return _read(params.critic, seen)[..., 0]


def play(
    key: Key[Array, ""],
    world: World,
    policy: Callable[..., Array],
    params: PyTree,
    *,
    num_turns: int,
    shape: tuple[int, int],
) -> Episode:
  """Episodes `[B, G]`: G from each of B starts; `key` is consumed."""
  start_key, key = jax.random.split(key)
  states = jax.vmap(world.reset)(jax.random.split(start_key, shape[0]))
  one = lambda key, state: episodes.play(
      key, world, policy, params, state, num_turns=num_turns
  )
  keys = jax.random.split(key, shape)
  return jax.vmap(jax.vmap(one, (0, None)))(keys, states)


def paid(played: Episode, setup: Setup) -> Float[Array, "B G K"]:
  """The rewards of turns, dense or sparse."""
  window = played.tokens.shape[-1] - played.gained.shape[-1]
  window //= 1 + played.gained.shape[-1]
  took_place = played.mask[..., window :: 1 + window]
  most = jnp.full(played.success.shape, setup.most, float)
  dense = turn_rewards.dense_turn_reward(
      played.gained, played.success, most, took_place
  )
  sparse = turn_rewards.sparse_turn_reward(played.success, took_place)
  return jnp.where(setup.dense > 0, dense, sparse)


def as_rollouts(played: Episode) -> Rollouts:
  """Episodes as the recipes want them, the first token as their prompt."""
  prompts = played.tokens[:, 0, :1]
  return Rollouts(
      prompts, jnp.ones(prompts.shape, bool), played.tokens, played.mask,
      played.log_probs, ~played.success,
  )


def _ppo(params, batch, setup):
  played, before = batch
  credit = turns.turn_gae_credit(
      paid(played, setup), played.turns, played.mask, before
  )
  return actor_critic.ppo(
      log_probs(params, played), as_rollouts(played), credit,
      values=values(params, played), value_coefficient=1.0,
  )[0]


def _groups(params, batch, setup):
  played, _ = batch
  alone = setup.algorithm == "rloo"
  credit = turns.turn_group_credit(
      paid(played, setup), played.turns, played.mask, leave_one_out=alone
  )
  recipe = policy_gradient.rloo if alone else policy_gradient.grpo
  return recipe(log_probs(params, played), as_rollouts(played), credit)[0]


LOSSES = {"ppo": _ppo, "grpo": _groups, "rloo": _groups}


def learn(
    key: Key[Array, ""],
    world: World,
    setup: Setup,
    params: Agent | None = None,
) -> tuple[Agent, Float[Array, " S"]]:
  """Trains from `params` or from scratch; the success rate at each step.

  Raises:
    ValueError: if the algorithm is none of the choices.
  """
  choose("algorithm", LOSSES, setup.algorithm)
  init_key, key = jax.random.split(key)
  shape = setup.batch_size, setup.group_size

  def collect(key, params, step):
    played = play(
        key, world, policy, params, num_turns=setup.num_turns, shape=shape
    )
    return played, values(params, played)

  return on_policy.train(
      key,
      init(init_key, world, setup.width) if params is None else params,
      collect,
      lambda params, batch: LOSSES[setup.algorithm](params, batch, setup),
      lambda params, batch: jnp.mean(batch[0].success),
      num_steps=setup.num_steps,
      learning_rate=setup.learning_rate,
  )


def imitate(
    key: Key[Array, ""],
    params: Agent,
    shown: Episode,
    weights: Float[Array, "B G"],
    *,
    num_steps: int,
    learning_rate: float,
) -> Agent:
  """Supervised training on the actions of demonstrations, by their weights."""

  def loss(params, batch):
    counted = shown.mask & (weights > 0)[..., None]
    return reduction.token_mean(-log_probs(params, shown), counted)

  steps = dict(num_steps=num_steps, learning_rate=learning_rate)
  return on_policy.train(key, params, lambda *_: (), loss, **steps)[0]
