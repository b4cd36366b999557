"""Studies of step rewards: what can be collected, and who gets the credit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.noise_studies import tables
from experiments.studies import Study, mean_row
from rewardjax.advantages import group
from rewardjax.core import probability
from rewardjax.recipes import two_level
from rewardjax.shaping import transforms
from rewardjax.types import Reward, Rollouts

# Ways to make rewards of the scores of steps.
REFINED = ("success only", "raw scores", "clip", "delta", "clip and delta")


def refinements(scores, mask, threshold) -> dict[str, jax.Array]:
  """What the scores of all steps pay in sum, by each name in `REFINED`."""
  clipped = transforms.clip_steps(scores, mask, threshold=threshold)
  rewards = (
      jnp.zeros_like(scores),
      jnp.where(mask, scores, 0.0),
      clipped,
      transforms.delta_steps(scores, mask),
      transforms.delta_steps(clipped, mask),
  )
  return {name: jnp.sum(x, -1) for name, x in zip(REFINED, rewards)}


def reward_refinement(
    *, seed, num_seeds, most, success, cost, steps, padding, threshold, weight,
    group_size, num_steps, learning_rate, below, within,
) -> Study:
  """How many useless but well-scored steps a policy adds."""
  size = len(steps) + most
  added = np.arange(most + 1)
  # Row n: the steps of a solution with n padding steps before its last one.
  table = np.zeros((most + 1, size), np.float32)
  for n in added:
    table[n, : len(steps) + n] = [*steps[:-1], *[padding] * n, steps[-1]]
  mask = jnp.arange(size)[None] < (len(steps) + added)[:, None]
  chance = jnp.asarray(success - cost * added, jnp.float32)

  def run(key, name):
    process = refinements(jnp.asarray(table), mask, threshold)[name]

    def step(logits, step_key):
      draw_key, luck_key = jax.random.split(step_key)
      chosen = tables.draw(draw_key, logits, group_size=group_size)
      luck = jax.random.uniform(luck_key, chosen.shape)
      rewards = (luck < chance[chosen]) + weight * process[chosen]
      logits = tables.ascend(
          logits, chosen, group.leave_one_out(rewards),
          learning_rate=learning_rate,
      )
      p = jax.nn.softmax(logits[0])
      return logits, (jnp.vdot(p, chance), jnp.vdot(p, jnp.asarray(added)))

    keys = jax.random.split(key, num_steps)
    return jax.lax.scan(step, jnp.zeros((1, most + 1)), keys)[1]

  found = tables.side_by_side(
      run, list(REFINED), seed=seed, num_seeds=num_seeds
  )
  lines, padded = ({k: x[i] for k, x in found.items()} for i in range(2))
  return refinement_study("a process reward", lines, padded, below, within)


def refinement_study(
    judge: str, lines, padded, below, within, more=()
) -> Study:
  """Whether policies that are paid for steps still solve the task.

  Args:
    judge: who scored the steps.
    lines: success at each step, of each way to refine the scores.
    padded: as `lines`, the useless steps.
    below: success with raw scores is to end there.
    within: how near to success alone the refined ones are to end.
    more: other rows of the result.
  """
  rows = tables.last_rows(lines, "success")
  rows += tables.last_rows(padded, "padding steps")
  last = tables.last_means(lines)
  refined = min(last["clip"], last["delta"], last["clip and delta"])
  return Study(
      f"Reward refinement: padding that {judge} pays for",
      f"Success below {below:g} with raw scores; with refined ones within "
      f"{within:g} of success alone",
      bool(
          last["raw scores"] < below
          and refined >= last["success only"] - within
      ),
      [*rows, *more],
      {"success": tables.curves(lines, "success")},
  )


EXPLORE, FIX, SUBMIT = range(3)


def _play(key, logits, *, group_size, fixes, ends):
  """One episode each: actions, contexts, mask, and what came of it.

  `logits` `[turns, 2, 3]` see the turn and whether the fault is fixed.
  """
  turns = logits.shape[0]

  def turn(state, inputs):
    fixed, alive, submitted = state
    t, turn_key = inputs
    act_key, fix_key, end_key = jax.random.split(turn_key, 3)
    here = logits[t][fixed.astype(int)]
    action = jax.random.categorical(act_key, here)
    works = jax.random.bernoulli(fix_key, fixes, fixed.shape)
    submitted = submitted | (alive & (action == SUBMIT))
    record = (action, fixed, alive)
    fixed = fixed | (alive & (action == FIX) & works)
    cut = jax.random.bernoulli(end_key, ends, fixed.shape)
    return (fixed, alive & ~submitted & ~cut, submitted), record

  none = jnp.zeros(group_size, bool)
  inputs = jnp.arange(turns), jax.random.split(key, turns)
  last, record = jax.lax.scan(turn, (none, ~none, none), inputs)
  actions, was_fixed, alive = (jnp.moveaxis(x, 0, -1) for x in record)
  return actions, was_fixed, alive, last[2], last[0] & last[2]


def gated_reward_accumulation(
    *, seed, num_seeds, turns, fixes, ends, outcomes, immediate, threshold,
    group_size, num_steps, learning_rate, margin,
) -> Study:
  """Explore for small pay, or fix and submit: direct against gated rewards."""
  thresholds = {
      "outcome only": jnp.inf, "direct": -jnp.inf, "gated": threshold
  }
  nothing, failing, passing = outcomes

  def run(key, name):
    def rewards_of(actions, alive, submitted, resolved):
      outcome = jnp.where(resolved, passing, failing)
      outcome = jnp.where(submitted, outcome, nothing)
      paid = immediate * (actions == EXPLORE)
      return transforms.gate(outcome, paid, alive, threshold=thresholds[name])

    def step(logits, step_key):
      episode = _play(
          step_key, logits, group_size=group_size, fixes=fixes, ends=ends
      )
      actions, fixed, alive, submitted, resolved = episode
      rewards = rewards_of(actions, alive, submitted, resolved)
      advantages = group.leave_one_out(rewards)[:, None]

      def loss(logits):
        here = logits[jnp.arange(turns)[None], fixed.astype(int)]
        taken = probability.token_log_probs(here, actions)
        return -jnp.mean(jnp.sum(jnp.where(alive, advantages * taken, 0.0), -1))

      logits = logits - learning_rate * jax.grad(loss)(logits)
      return logits, (jnp.mean(submitted), jnp.mean(resolved))

    keys = jax.random.split(key, num_steps)
    return jax.lax.scan(step, jnp.zeros((turns, 2, 3)), keys)[1]

  found = tables.side_by_side(
      run, list(thresholds), seed=seed, num_seeds=num_seeds
  )
  # Sampled, so the last steps are averaged.
  smooth = lambda x: np.mean(x[:, -20:], axis=1)
  done = {name: smooth(x[0]) for name, x in found.items()}
  solved = {name: smooth(x[1]) for name, x in found.items()}
  rows = [mean_row(n, "completed", x) for n, x in done.items()]
  rows += [mean_row(n, "resolved", x) for n, x in solved.items()]
  lines = {name: x[1] for name, x in found.items()}
  gap = np.mean(solved["gated"]) - np.mean(solved["direct"])
  return Study(
      "Gated accumulation of immediate rewards",
      f"Resolved with the gate above direct accumulation by {margin:g}",
      bool(gap > margin),
      rows,
      {"resolved": tables.curves(lines, "resolved")},
      "The task is easy: the outcome alone is best here. Means over the last "
      "20 steps of each seed, with 95 % Student-t intervals over seeds.",
  )


def oprl(
    *, seed, num_seeds, length, num_actions, decisive, num_prompts, group_size,
    num_steps, policy_rate, reward_rate, coefficient, window, margin,
) -> Study:
  """A chain with two decisive steps: outcomes against implicit steps."""
  names = {"outcome only": 0.0, "implicit steps": 1.0}
  shape = (num_prompts, group_size, length)
  step_ids = jnp.broadcast_to(jnp.arange(length), shape)
  mask = jnp.ones(shape, bool)
  policy_opt, reward_opt = optax.adam(policy_rate), optax.adam(reward_rate)

  def scored(table, actions):
    return probability.token_log_probs(
        jnp.broadcast_to(table, (*shape, num_actions)), actions
    )

  def rate(table):
    p = jax.nn.softmax(table)[jnp.array(decisive), 0]
    return jnp.prod(p)

  def run(key, name):
    def step(state, step_key):
      (policy, judge), (policy_state, judge_state) = state
      actions = jax.random.categorical(step_key, policy, shape=shape)
      right = jnp.all(actions[..., jnp.array(decisive)] == 0, axis=-1)
      reward = Reward(right.astype(float), jnp.ones(right.shape, bool))
      rollouts = Rollouts(
          jnp.zeros((num_prompts, 1), int), jnp.ones((num_prompts, 1), bool),
          actions, mask, scored(policy, actions), jnp.zeros(right.shape, bool),
      )
      steps = dict(
          step_ids=step_ids, num_steps=length, coefficient=coefficient
      )
      policy_loss = lambda p: two_level.oprl(
          scored(p, actions), rollouts, reward,
          process_log_probs=scored(judge, actions), weight=names[name],
          estimator=group.standardized, **steps,
      )[0].value
      judge_loss = lambda j: two_level.oprl_reward_loss(
          scored(j, actions), rollouts, reward, **steps
      ).value
      move, policy_state = policy_opt.update(
          jax.grad(policy_loss)(policy), policy_state
      )
      turn, judge_state = reward_opt.update(
          jax.grad(judge_loss)(judge), judge_state
      )
      tables_ = optax.apply_updates((policy, judge), (move, turn))
      # How much more the reward model gives the right action, per step.
      credit = jax.nn.log_softmax(tables_[1])[:, 0]
      credit -= jax.nn.log_softmax(tables_[0])[:, 0]
      return (tables_, (policy_state, judge_state)), (rate(policy), credit)

    start = jnp.zeros((length, num_actions))
    states = policy_opt.init(start), reward_opt.init(start)
    keys = jax.random.split(key, num_steps)
    return jax.lax.scan(step, ((start, start), states), keys)[1]

  found = tables.side_by_side(run, list(names), seed=seed, num_seeds=num_seeds)
  lines = {name: x[0] for name, x in found.items()}
  first, last = window
  inside = {n: np.mean(x[:, first:last], -1) for n, x in lines.items()}
  rows = [mean_row(n, f"success, steps {first} to {last}", x)
          for n, x in inside.items()]
  rows += tables.last_rows(lines, "success at the end")
  credit = np.mean(found["implicit steps"][1][:, :first], axis=(0, 1))
  top = set(np.argsort(credit)[-len(decisive):].tolist())
  gap = np.mean(inside["implicit steps"]) - np.mean(inside["outcome only"])
  return Study(
      "OPRL: credit of steps from preferences between trajectories",
      f"Success over steps {first} to {last} above outcomes alone by "
      f"{margin:g}; implicit rewards largest at the decisive steps",
      bool(gap > margin and top == set(decisive)),
      rows,
      {"success": tables.curves(lines, "success")},
  )
