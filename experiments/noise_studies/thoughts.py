"""A chain with mistakes that can be taken back: whose credit (TP-GRPO)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from experiments.noise_studies import tables
from experiments.studies import Study, mean_row
from rewardjax.core import probability
from rewardjax.recipes import two_level
from rewardjax.rewards import agreement
from rewardjax.types import Reward, Rollouts


class Policy(NamedTuple):
  """Logits of K slots with V values; value 0 is right everywhere.

  A slot is written, then kept or revised in view of what was written, and if
  revised, written again.
  """

  write: Float[Array, "K V"]
  revise: Float[Array, "K V 2"]
  rewrite: Float[Array, "K V"]


def success_rate(policy: Policy) -> Float[Array, ""]:
  """Exact chance that all slots end up right."""
  write, revise, rewrite = (jax.nn.softmax(x, axis=-1) for x in policy)
  kept = write[:, 0] * revise[:, 0, 0]
  again = jnp.sum(write * revise[..., 1], -1) * rewrite[:, 0]
  return jnp.prod(kept + again)


def play(key: Key[Array, ""], policy: Policy, shape: tuple[int, int]) -> Array:
  """Actions `[B, G, K, 3]`: the value, whether it is revised, the new one."""
  keys = jax.random.split(key, 3)
  slots = jnp.arange(policy.write.shape[0])
  full = (*shape, slots.size)
  first = jax.random.categorical(keys[0], policy.write, shape=full)
  again = jax.random.categorical(keys[1], policy.revise[slots, first])
  second = jax.random.categorical(keys[2], policy.rewrite, shape=full)
  return jnp.stack([first, again, second], -1)


def log_probs_of(policy: Policy, actions: Array) -> Array:
  """Of each action, `[B, G, 3 K]`."""
  slots = jnp.arange(actions.shape[-2])
  first, again, second = (actions[..., i] for i in range(3))
  spread = lambda x: jnp.broadcast_to(x, (*first.shape, x.shape[-1]))
  parts = [
      probability.token_log_probs(spread(policy.write), first),
      probability.token_log_probs(policy.revise[slots, first], again),
      probability.token_log_probs(spread(policy.rewrite), second),
  ]
  return jnp.stack(parts, -1).reshape(*actions.shape[:-2], -1)


def _steps(actions):
  """Labels `[B, G, 2 K]` by what is revised, and the step of each action."""
  first, again, second = (actions[..., i] for i in range(3))
  slots = jnp.broadcast_to(jnp.arange(first.shape[-1]), first.shape)
  revised = jnp.where(again == 1, slots, -1)
  pairs = lambda a, b: jnp.stack([a, b], -1).reshape(*a.shape[:-1], -1)
  labels = agreement.unrevised(pairs(slots, revised), pairs(first, second))
  ids = 2 * slots[..., None] + jnp.array([0, 1, 1])[None, None, None]
  return labels, ids.reshape(*ids.shape[:-2], -1)


def tp_grpo(
    *, seed, num_seeds, num_slots, num_values, num_prompts, group_size,
    num_steps, learning_rate, level, share,
) -> Study:
  """Samples until the success rate reaches `level`, with and without."""
  weights = {"outcome only": 0.0, "thoughts": 1.0}
  shape = (num_prompts, group_size)
  optimizer = optax.adam(learning_rate)
  start = Policy(
      jnp.zeros((num_slots, num_values)),
      jnp.zeros((num_slots, num_values, 2)),
      jnp.zeros((num_slots, num_values)),
  )

  def run(key, name):
    def step(state, step_key):
      policy, opt_state = state
      actions = play(step_key, policy, shape)
      first, again, second = (actions[..., i] for i in range(3))
      right = jnp.all(jnp.where(again == 1, second, first) == 0, axis=-1)
      mask = jnp.ones(actions.shape, bool).at[..., 2].set(again == 1)
      labels, ids = _steps(actions)
      rollouts = Rollouts(
          jnp.zeros((num_prompts, 1), int), jnp.ones((num_prompts, 1), bool),
          ids, mask.reshape(ids.shape), log_probs_of(policy, actions),
          jnp.zeros(shape, bool),
      )
      reward = Reward(right.astype(float), jnp.ones(shape, bool))
      loss = lambda p: two_level.tp_grpo(
          log_probs_of(p, actions), rollouts, reward,
          labels=labels, step_ids=ids, weight=weights[name],
      )[0].value
      move, opt_state = optimizer.update(jax.grad(loss)(policy), opt_state)
      policy = optax.apply_updates(policy, move)
      return (policy, opt_state), success_rate(policy)

    keys = jax.random.split(key, num_steps)
    return jax.lax.scan(step, (start, optimizer.init(start)), keys)[1]

  lines = tables.side_by_side(
      run, list(weights), seed=seed, num_seeds=num_seeds
  )
  drawn = num_prompts * group_size
  samples = {n: drawn * tables.first_above(x, level) for n, x in lines.items()}
  rows = [
      mean_row(n, f"samples to {level:g} success", x)
      for n, x in samples.items()
  ]
  rows += tables.last_rows(lines, "success at the end")
  ratio = np.mean(samples["thoughts"]) / np.mean(samples["outcome only"])
  return Study(
      "TP-GRPO: thoughts labelled by what is revised later",
      f"Samples to {level:g} success at most {share:g} of those with the "
      "outcome alone",
      bool(ratio <= share),
      rows,
      {"success": tables.curves(lines, "success")},
      "A run that never gets there counts with all its samples. Means over "
      "seeds with 95 % Student-t intervals.",
  )
