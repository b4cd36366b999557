"""Tabular policies trained by the recipes: one token, one prompt a row.

Everything is pure, so that seeds are mapped and steps are scanned.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from rewardjax.core import probability
from rewardjax.core.masking import Mean
from rewardjax.environments import bandits
from rewardjax.types import Reward, Rollouts, Scalar


class Batch(NamedTuple):
  """One step's data: G samples of each of B prompts, of one token each."""

  rollouts: Rollouts
  reward: Reward
  logits: Float[Array, "B K"]  # of the policy that sampled


# (log_probs [B, G, 1], batch) -> the loss, reduced over all samples.
Loss = Callable[[Float[Array, "B G 1"], Batch], Mean]


def draw(
    key: Key[Array, ""],
    logits: Float[Array, "B K"],
    rewards: Float[Array, "B K"],
    *,
    group_size: int,
) -> Batch:
  """Samples arms of every prompt and looks up what they earn."""
  uniforms = jax.random.uniform(key, (logits.shape[0], group_size))
  tokens = bandits.draw_arms(uniforms, logits)
  mask = jnp.ones((*tokens.shape, 1), bool)
  rollouts = Rollouts(
      prompts=jnp.zeros((logits.shape[0], 1), int),
      prompt_mask=jnp.ones((logits.shape[0], 1), bool),
      tokens=tokens[..., None],
      mask=mask,
      log_probs=token_log_probs(logits, tokens)[..., None],
      truncated=jnp.zeros(tokens.shape, bool),
  )
  value = bandits.at_arms(rewards, tokens)
  return Batch(rollouts, Reward(value, mask[..., 0]), logits)


def token_log_probs(
    logits: Float[Array, "B K"], tokens: Array
) -> Float[Array, "B G"]:
  """log softmax(logits) at the tokens of each prompt."""
  shape = (*tokens.shape, logits.shape[-1])
  return probability.token_log_probs(
      jnp.broadcast_to(logits[:, None], shape), tokens
  )


def descend(
    logits: Float[Array, "B K"],
    batch: Batch,
    loss: Loss,
    *,
    learning_rate: Scalar,
    epochs: int = 1,
) -> Float[Array, "B K"]:
  """Gradient steps on one batch, at the scale of one prompt's mean loss.

  Totals are divided by the samples of a prompt, never by how many of the
  batch count: a prompt learns as if it were alone.
  """
  tokens = batch.rollouts.tokens[..., 0]

  def total(logits):
    log_probs = token_log_probs(logits, tokens)[..., None]
    return loss(log_probs, batch).total / tokens.shape[-1]

  step = lambda logits, _: (logits - learning_rate * jax.grad(total)(logits), 0)
  return jax.lax.scan(step, logits, length=epochs)[0]


def learn(
    key: Key[Array, ""],
    logits: Float[Array, "B K"],
    rewards: Float[Array, "B K"],
    loss: Loss,
    *,
    num_steps: int,
    group_size: int,
    learning_rate: Scalar,
    epochs: int = 1,
    corrupt: Callable[..., Batch] = lambda key, batch: batch,
) -> tuple[Float[Array, "B K"], Float[Array, "S B K"]]:
  """Trains a policy; returns it, and all policies on the way.

  `corrupt(key, batch)` may spoil what was recorded of a batch.
  """
  update = functools.partial(
      descend, loss=loss, learning_rate=learning_rate, epochs=epochs
  )

  def step(logits, key):
    draw_key, corrupt_key = jax.random.split(key)
    batch = draw(draw_key, logits, rewards, group_size=group_size)
    logits = update(logits, corrupt(corrupt_key, batch))
    return logits, logits

  return jax.lax.scan(step, logits, jax.random.split(key, num_steps))


def right_arms(
    num_prompts: int, num_arms: int, num_right: int
) -> Bool[Array, "B K"]:
  """The first arms of every prompt; starts are random, so places are free."""
  right = jnp.arange(num_arms) < num_right
  return jnp.broadcast_to(right, (num_prompts, num_arms))
