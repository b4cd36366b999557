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
from jaxtyping import Array, Bool, Float, Int

from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.core import probability
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


def _sample(
    key, policy, place: Int[Array, " B"], digit: Int[Array, " B"], group_size
) -> tuple[Rollouts, Bool[Array, "B G"]]:
  """Sequences, and whether their decisive token is the right digit."""
  shape = (policy.shape[0], group_size, policy.shape[1])
  tokens = jax.random.categorical(key, policy[:, None], shape=shape)
  mask = jnp.ones(shape, bool)
  prompts = jnp.zeros((shape[0], 1), int)
  log_probs = _at(jax.nn.log_softmax(policy), tokens)
  truncated = jnp.zeros(shape[:2], bool)
  decisive = jnp.take_along_axis(tokens, place[:, None, None], axis=-1)[..., 0]
  rollouts = Rollouts(prompts, prompts == 0, tokens, mask, log_probs, truncated)
  return rollouts, decisive == digit[:, None]


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


def oreal_key_token(
    *, seed, num_seeds, num_prompts, length, num_tokens, group_size, warm_up,
    num_steps, learning_rate, level, share,
) -> Study:
  """One digit among fillers decides; who finds out which, and how soon.

  The reward model learns alone for `warm_up` steps, on samples of the start.
  `level` is the accuracy to be reached, `share` how many times the average
  weight the decisive token must have after the warm-up.
  """
  optimizer = optax.adam(learning_rate)

  def run(key, method):
    keys = split_named(key, "place", "digit", "steps")
    place = jax.random.randint(keys["place"], (num_prompts,), 0, length)
    digit = jax.random.randint(keys["digit"], (num_prompts,), 0, num_tokens)

    def accuracy(policy):
      rows = jnp.take_along_axis(policy, place[:, None, None], axis=1)[:, 0]
      return jnp.mean(jnp.exp(probability.token_log_probs(rows, digit)))

    def step(state, inputs):
      key, t = inputs
      rollouts, correct = _sample(key, state.policy, place, digit, group_size)
      reward = Reward(correct.astype(float), jnp.ones(correct.shape, bool))
      token_rewards = _at(state.rewards, rollouts.tokens)
      weights = outcome.token_weights(token_rewards)
      weight = jnp.mean(weights.positive + weights.negative, axis=1)
      decisive = jnp.take_along_axis(weight, place[:, None], axis=-1)
      times = jnp.mean(decisive) / jnp.maximum(jnp.mean(weight), 1e-9)

      def policy_loss(policy):
        log_probs = _at(jax.nn.log_softmax(policy), rollouts.tokens)
        loss, _ = method(log_probs, rollouts, reward, token_rewards)
        return loss.value

      def reward_loss(rewards):
        logits = _at(rewards, rollouts.tokens)
        losses = outcome.outcome_loss(logits, correct, rollouts.mask)
        return Mean.of(losses).value

      slopes = jax.grad(policy_loss)(state.policy), jax.grad(reward_loss)(
          state.rewards
      )
      # Frozen while the reward model warms up, under every method alike.
      slopes = jnp.where(t < warm_up, 0.0, slopes[0]), slopes[1]
      updates, moments = optimizer.update(slopes, state.moments)
      tables = optax.apply_updates((state.policy, state.rewards), updates)
      return _State(*tables, moments), (accuracy(tables[0]), times)

    zeros = jnp.zeros((num_prompts, length, num_tokens))
    start = _State(zeros, zeros, optimizer.init((zeros, zeros)))
    total = warm_up + num_steps
    inputs = jax.random.split(keys["steps"], total), jnp.arange(total)
    return jax.lax.scan(step, start, inputs)[1]

  found = {
      name: jax.device_get(
          jax.jit(jax.vmap(functools.partial(run, method=method)))(
              seed_keys(seed, num_seeds)
          )
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
