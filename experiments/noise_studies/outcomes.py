"""What learning from outcomes claims about tokens, on a policy of tables.

The function maps the fields of its config to a `Study`; the criterion was
fixed before the first run.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.recipes import oreal, policy_gradient
from rewardjax.reward_models import outcome
from rewardjax.types import Reward, Rollouts


class _State(NamedTuple):
  policy: Float[Array, "B T V"]
  rewards: Float[Array, "B T V"]  # the reward model: one logit per token
  moments: Any  # the optimisers'


def _at(table, tokens):
  """Entries `[B, G, T]` of a table `[B, T, V]` at tokens `[B, G, T]`."""
  shape = (*tokens.shape, table.shape[-1])
  wide = jnp.broadcast_to(table[:, None], shape)
  return jnp.take_along_axis(wide, tokens[..., None], axis=-1)[..., 0]


def _sample(key, policy, group_size) -> Rollouts:
  """Sequences of full length; positions are drawn on their own."""
  shape = (policy.shape[0], group_size, policy.shape[1])
  tokens = jax.random.categorical(key, policy[:, None], shape=shape)
  prompts = jnp.zeros((shape[0], 1), int)
  return Rollouts(
      prompts,
      prompts == 0,
      tokens,
      jnp.ones(shape, bool),
      _at(jax.nn.log_softmax(policy), tokens),
      jnp.zeros(shape[:2], bool),
  )


def _weighed(log_probs, rollouts, reward, token_rewards):
  return oreal.oreal(log_probs, rollouts, reward, token_rewards=token_rewards)


def _plain(log_probs, rollouts, reward, token_rewards):
  del token_rewards
  return oreal.oreal(log_probs, rollouts, reward)


def _rloo(log_probs, rollouts, reward, token_rewards):
  del token_rewards
  return policy_gradient.rloo(log_probs, rollouts, reward)


_METHODS = {
    "oreal": _weighed, "oreal, all tokens alike": _plain, "rloo": _rloo
}


class _World(NamedTuple):
  """Of each prompt: where the token that decides stands, and what is right."""

  place: Int[Array, " B"]
  digit: Int[Array, " B"]

  def accuracy(self, policy):
    """Exact probability of the right digit, averaged over prompts."""
    rows = jnp.take_along_axis(policy, self.place[:, None, None], axis=1)
    return jnp.mean(jnp.exp(_at(jax.nn.log_softmax(rows), self._digits())))

  def _digits(self):
    return self.digit[:, None, None]

  def correct(self, tokens):
    """Verdicts `[B, G]` on sequences."""
    places = self.place[:, None, None]
    decisive = jnp.take_along_axis(tokens, places, axis=-1)
    return (decisive == self._digits())[..., 0]

  def decisive_share(self, token_rewards):
    """Weight of the decisive token over the average one."""
    weights = outcome.token_weights(token_rewards)
    weight = jnp.mean(weights.positive + weights.negative, axis=1)
    decisive = jnp.take_along_axis(weight, self.place[:, None], axis=-1)
    return jnp.mean(decisive) / jnp.maximum(jnp.mean(weight), 1e-9)


def _slopes(state, method, rollouts, correct):
  """Gradients of the policy's loss and of the reward model's."""
  reward = Reward(correct.astype(float), jnp.ones(correct.shape, bool))
  tokens = rollouts.tokens

  def policy_loss(policy):
    log_probs = _at(jax.nn.log_softmax(policy), tokens)
    token_rewards = _at(state.rewards, tokens)
    return method(log_probs, rollouts, reward, token_rewards)[0].value

  def reward_loss(rewards):
    logits = _at(rewards, tokens)
    losses = outcome.outcome_loss(logits, correct, rollouts.mask)
    return Mean.of(losses).value

  return jax.grad(policy_loss)(state.policy), jax.grad(reward_loss)(
      state.rewards
  )


def _learn(
    key, method, *, num_prompts, length, num_tokens, group_size, warm_up,
    num_steps, learning_rate,
):
  """Accuracies after, and shares of the decisive token before, each step."""
  keys = split_named(key, "place", "digit", "steps")
  drawn = lambda name, size: jax.random.randint(
      keys[name], (num_prompts,), 0, size
  )
  world = _World(drawn("place", length), drawn("digit", num_tokens))
  optimizer = optax.adam(learning_rate)

  def step(state, inputs):
    key, t = inputs
    rollouts = _sample(key, state.policy, group_size)
    share = world.decisive_share(_at(state.rewards, rollouts.tokens))
    slopes = _slopes(state, method, rollouts, world.correct(rollouts.tokens))
    # Frozen while the reward model warms up, under every method alike.
    slopes = jnp.where(t < warm_up, 0.0, slopes[0]), slopes[1]
    updates, moments = optimizer.update(slopes, state.moments)
    tables = optax.apply_updates((state.policy, state.rewards), updates)
    return _State(*tables, moments), (world.accuracy(tables[0]), share)

  zeros = jnp.zeros((num_prompts, length, num_tokens))
  start = _State(zeros, zeros, optimizer.init((zeros, zeros)))
  total = warm_up + num_steps
  inputs = jax.random.split(keys["steps"], total), jnp.arange(total)
  return jax.lax.scan(step, start, inputs)[1]


def oreal_key_token(
    *, seed, num_seeds, warm_up, num_steps, level, share, **options
) -> Study:
  """One digit among fillers decides; who finds out which, and how soon.

  The reward model learns alone for `warm_up` steps, on samples of the start.
  `level` is the accuracy to be reached, `share` how many times the average
  weight the decisive token must have after the warm-up.
  """
  run = functools.partial(
      _learn, warm_up=warm_up, num_steps=num_steps, **options
  )
  keys = seed_keys(seed, num_seeds)
  found = {
      name: jax.device_get(
          jax.jit(jax.vmap(lambda key, f=method: run(key, f)))(keys)
      )
      for name, method in _METHODS.items()
  }
  lines = {name: x[0][:, warm_up:] for name, x in found.items()}
  needed = {name: _steps_to(level, x) for name, x in lines.items()}
  times = found["oreal"][1][:, warm_up]
  passed = np.mean(times) > share and np.mean(needed["oreal"]) < np.mean(
      needed["oreal, all tokens alike"]
  )
  rows = [
      mean_row(name, f"steps to {level:g}", x) for name, x in needed.items()
  ]
  rows += [mean_row(name, "accuracy", x[:, -1]) for name, x in lines.items()]
  rows.append(mean_row("oreal", "decisive weight over average", times))
  return Study(
      "OREAL: finding the token that decides",
      f"After the warm-up the decisive token weighs more than {share:g} times "
      "the average, and OREAL with token rewards needs fewer steps to an "
      f"accuracy of {level:g} than without",
      bool(passed),
      rows,
      {
          "accuracy": Curves(
              np.arange(1, num_steps + 1), lines, "step", "accuracy"
          )
      },
  )


def _steps_to(level, lines):
  """First step at the level, one more than there are if it is not reached."""
  above = lines >= level
  first = np.where(above.any(-1), above.argmax(-1), lines.shape[-1])
  return 1.0 + first
