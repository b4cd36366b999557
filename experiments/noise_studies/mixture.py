"""What learning to mix imitation and exploration claims, on small tables.

The function maps the fields of its config to a `Study`; the criterion was
fixed before the first run.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.noise_studies import exploration_bandits as tables
from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.advantages import group
from rewardjax.core.random import split_named
from rewardjax.environments import bandits
from rewardjax.objectives import policy_gradient as surrogates
from rewardjax.recipes import policy_gradient
from rewardjax.training import meta


def _value(logits, batch):
  """Its gradient is the policy gradient of the mean reward."""
  log_probs = tables.token_log_probs(logits, batch.rollouts.tokens[..., 0])
  advantages = group.leave_one_out(batch.reward.value)
  return -jnp.mean(surrogates.score_surrogate(log_probs, advantages))


def _two_gradients(logits, batch, known):
  """Of exploration on a batch and of imitation of the tokens `known`."""

  def explore(logits):
    log_probs = tables.token_log_probs(logits, batch.rollouts.tokens[..., 0])
    loss = policy_gradient.grpo(
        log_probs[..., None], batch.rollouts, batch.reward
    )[0]
    return loss.total / known.shape[-1]

  def imitate(logits):
    return -jnp.sum(tables.token_log_probs(logits, known)) / known.shape[-1]

  return jax.grad(explore)(logits), jax.grad(imitate)(logits)


def _mix_and_learn(
    key, weights, learned, *, logits, demonstrator, right, num_steps,
    group_size, learning_rate, step_size,
):
  """Accuracies and weights on the way: `weights`, or those that are learned.

  Both are arguments of one program: `weights` `[num_steps]`, and a flag.
  """
  sample = functools.partial(
      tables.draw, rewards=right, group_size=group_size
  )

  def step(carry, inputs):
    logits, weight = carry
    keys = split_named(inputs[0], "sample", "known", "check")
    used = jnp.where(learned, weight, inputs[1])
    known = sample(keys["known"], demonstrator).rollouts.tokens[..., 0]
    rl, sft = _two_gradients(logits, sample(keys["sample"], logits), known)
    mixed = meta.mix(rl, sft, weight=used)
    logits = optax.apply_updates(logits, -learning_rate * mixed)
    fresh = sample(keys["check"], logits)
    slope = meta.one_step_slope(
        jax.grad(_value)(logits, fresh), rl, sft, learning_rate=learning_rate
    )
    weight = meta.next_weight(weight, slope, step_size=step_size)
    earned = jnp.mean(bandits.expected_reward(logits, right))
    return (logits, weight), (earned, used)

  inputs = jax.random.split(key, num_steps), weights
  return jax.lax.scan(step, (logits, jnp.array(0.5)), inputs)[1]


def amft_mixture(
    *, seed, num_seeds, num_prompts, num_arms, start, share, num_steps,
    reached, margin, **options,
) -> Study:
  """Demonstrations that are right most of the time, and a rare right arm.

  The right arm starts at logit `start`; demonstrations show it with
  probability `share`, else arm 1.
  """
  right = tables.right_arms(num_prompts, num_arms, 1).astype(float)
  shown = jnp.zeros(num_arms).at[jnp.array([0, 1])].set([share, 1 - share])
  run = jax.jit(jax.vmap(functools.partial(
      _mix_and_learn,
      logits=jnp.zeros_like(right).at[:, 0].set(start),
      demonstrator=jnp.broadcast_to(jnp.log(shown), right.shape),
      right=right, num_steps=num_steps, **options,
  ), (0, None, None)))
  schedules = {
      "imitation": 1.0,
      "exploration": 0.0,
      "half": 0.5,
      "one after the other": np.arange(num_steps) < num_steps // 2,
      "amft": 0.5,  # not read
  }
  keys = seed_keys(seed, num_seeds)
  weights = {
      name: np.full(num_steps, x, np.float32) for name, x in schedules.items()
  }
  found = {
      name: jax.device_get(run(keys, x, name == "amft"))
      for name, x in weights.items()
  }
  earned = {name: x[0] for name, x in found.items()}
  final = {name: np.mean(x[:, -1]) for name, x in earned.items()}
  passed = final["amft"] >= reached and final["amft"] > final["half"] + margin
  rows = [mean_row(name, "accuracy", x[:, -1]) for name, x in earned.items()]
  weights = found["amft"][1]
  rows.append(mean_row("amft", "largest weight", weights.max(axis=-1)))
  rows.append(mean_row("amft", "last weight", weights[:, -1]))
  steps = np.arange(1, num_steps + 1)
  return Study(
      "AMFT: when to stop imitating",
      f"Accuracy of at least {reached:g}, and more than {margin:g} above a "
      "fixed weight of one half",
      bool(passed),
      rows,
      {
          "accuracy": Curves(steps, earned, "step", "accuracy"),
          "weight": Curves(steps, {"amft": weights}, "step", "weight"),
      },
  )
