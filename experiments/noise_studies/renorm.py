"""Steps whose judge prefers words to work: what ties its scores down (PPR)."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import tables
from experiments.studies import Study, mean_row
from rewardjax.advantages import group, temporal
from rewardjax.core import probability
from rewardjax.shaping import renorm

USEFUL, VERBOSE, IDLE = range(3)


def ppr_renorm(
    *, seed, num_seeds, turns, needed, scores, group_size, num_steps,
    learning_rate, within, above,
) -> Study:
  """Useful, verbose or idle steps; right with enough useful ones.

  `scores` are the judge's for the three kinds of step.
  """
  judged = jnp.array(scores)
  at_end = lambda o: jnp.pad(o[:, None], ((0, 0), (turns - 1, 0)))
  rewards = {
      "process only": lambda s, o: s,
      "outcome only": lambda s, o: at_end(o),
      "anchored": renorm.anchored_steps,
      "centered": renorm.centered_steps,
      "standardized": lambda s, o: renorm.standardized_steps(s[None], o[None])[
          0
      ],
  }

  def run(key, name):
    def step(logits, step_key):
      shape = (group_size, turns)
      actions = jax.random.categorical(step_key, logits, shape=shape)
      right = jnp.sum(actions == USEFUL, -1) >= needed
      paid = rewards[name](judged[actions], right.astype(float))
      returns = temporal.reward_to_go(paid)
      advantages = group.leave_one_out(returns.T).T

      def loss(logits):
        taken = probability.token_log_probs(
            jnp.broadcast_to(logits, (*shape, 3)), actions
        )
        return -jnp.mean(jnp.sum(advantages * taken, -1))

      logits = logits - learning_rate * jax.grad(loss)(logits)
      p = jax.nn.softmax(logits)
      return logits, (_success(p[:, USEFUL], needed), jnp.mean(p @ judged))

    keys = jax.random.split(key, num_steps)
    return jax.lax.scan(step, jnp.zeros((turns, 3)), keys)[1]

  found = tables.side_by_side(
      run, list(rewards), seed=seed, num_seeds=num_seeds
  )
  lines = {name: x[0] for name, x in found.items()}
  rows = tables.last_rows(lines, "outcome")
  rows += [mean_row(n, "score of a step", x[1][:, -1])
           for n, x in found.items()]
  last = tables.last_means(lines)
  anchored = last["anchored"]
  return Study(
      "PPR: a judge that over-scores verbose steps",
      f"Outcome of anchored steps within {within:g} of the best of all, and "
      f"above process only by {above:g}",
      bool(
          anchored >= max(last.values()) - within
          and anchored > last["process only"] + above
      ),
      rows,
      {"outcome": tables.curves(lines, "chance of a right outcome")},
      "Scores of steps are a table, not a trained judge. Means over seeds "
      "with 95 % Student-t intervals.",
  )


def _success(chances, needed: int):
  """P(at least `needed` of independent steps are useful), exactly."""
  turns = chances.shape[0]
  counts = jnp.zeros(turns + 1).at[0].set(1.0)
  for p in chances:
    moved = jnp.concatenate([jnp.zeros(1), counts[:-1]])
    counts = counts * (1 - p) + moved * p
  return jnp.sum(jnp.where(np.arange(turns + 1) >= needed, counts, 0.0))
