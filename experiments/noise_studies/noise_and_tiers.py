"""Studies of noise per group, of majorities, and of tiers."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import tables
from experiments.studies import Study, mean_row
from rewardjax.advantages import group
from rewardjax.environments import bandits
from rewardjax.noise import channels
from rewardjax.rewards import agreement
from rewardjax.search import voting
from rewardjax.shaping import transforms
from rewardjax.types import NoiseRates


def climb_noisy_rewards(
    *, seed, num_seeds, num_prompts, num_arms, flips, group_size, num_steps,
    early, learning_rate, reaches, times,
) -> Study:
  """Flips of whole groups against flips of samples, at equal rates."""
  names = [f"{per} {f:g}" for per in ("group", "sample") for f in flips]

  def run(key, name):
    per, flip = name.split()
    world_key, loop_key = jax.random.split(key)
    world = bandits.one_right_arm(
        world_key, NoiseRates(0.0, 0.0),
        num_prompts=num_prompts, num_arms=num_arms,
    )

    def step(logits, step_key):
      draw_key, flip_key = jax.random.split(step_key)
      chosen = tables.draw(draw_key, logits, group_size=group_size)
      observed = channels.flip_binary(
          flip_key, bandits.at_arms(world.correct, chosen),
          NoiseRates(float(flip), float(flip)), per_group=per == "group",
      )
      logits = tables.ascend(
          logits, chosen, group.leave_one_out(observed),
          learning_rate=learning_rate,
      )
      return logits, jnp.mean(bandits.expected_reward(logits, world.rewards))

    keys = jax.random.split(loop_key, num_steps)
    return jax.lax.scan(step, world.logits, keys)[1]

  lines = tables.side_by_side(run, names, seed=seed, num_seeds=num_seeds)
  last = tables.last_means(lines)
  at_early = {name: np.mean(x[:, early - 1]) for name, x in lines.items()}
  rows = [
      mean_row(name, f"accuracy at step {early}", x[:, early - 1])
      for name, x in lines.items()
  ]
  rows += tables.last_rows(lines, f"accuracy at step {num_steps}")
  passed = (
      last["group 0.4"] > max(reaches, times * last["group 0.5"])
      and last["group 0.4"] < last["sample 0.4"]
      and at_early["group 0.4"] < 1.0
  )
  return Study(
      "The climb: verdicts flipped per group or per sample",
      f"40 % flips per group reach {reaches:g} and {times:g} times what 50 % "
      "reach, and stay below 40 % flips per sample",
      bool(passed),
      rows,
      {"accuracy": tables.curves(lines, "accuracy")},
  )


def co_reward(
    *, seed, num_seeds, num_prompts, num_answers, bonus, spread, group_size,
    num_steps, learning_rate, margin, wins,
) -> Study:
  """Two wordings with errors of their own: whose majority to believe."""
  names = ("self-majority", "co-reward", "true labels")

  def run(key, name):
    truth_key, world_key, loop_key = jax.random.split(key, 3)
    truth = jax.random.randint(truth_key, (num_prompts, 1), 0, num_answers)
    truth = jnp.broadcast_to(truth, (num_prompts, 2)).reshape(-1)
    right = jax.nn.one_hot(truth, num_answers)
    start = bonus * right + spread * jax.random.normal(world_key, right.shape)
    accuracy = lambda x: jnp.mean(bandits.expected_reward(x, right))

    def step(logits, step_key):
      answers = tables.draw(step_key, logits, group_size=group_size)
      labels = voting.majority_vote(answers).answer
      if name == "co-reward":
        labels = jnp.flip(labels.reshape(-1, 2), -1).reshape(-1)
      labels = truth if name == "true labels" else labels
      rewards = agreement.matches(answers, labels)
      logits = tables.ascend(
          logits, answers, group.standardized(rewards),
          learning_rate=learning_rate,
      )
      return logits, accuracy(logits)

    keys = jax.random.split(loop_key, num_steps)
    return jax.lax.scan(step, start, keys)[1], accuracy(start)

  found = tables.side_by_side(run, names, seed=seed, num_seeds=num_seeds)
  lines = {name: x[0] for name, x in found.items()}
  gaps = lines["co-reward"][:, -1] - lines["self-majority"][:, -1]
  rows = [mean_row("start", "accuracy", found["co-reward"][1])]
  rows += tables.last_rows(lines, "accuracy")
  rows.append(mean_row("co-reward - self-majority", "accuracy", gaps))
  share = np.mean(gaps > 0)
  return Study(
      "Co-Reward against one's own majority",
      f"Co-Reward above the own majority by {margin:g} in the mean, and in "
      f"{wins:g} of the paired seeds",
      bool(np.mean(gaps) > margin and share >= wins),
      rows,
      {"accuracy": tables.curves(lines, "accuracy")},
  )


def sweet_spot_learning(
    *, seed, num_seeds, distance, width, inside, noise, num_tiers, group_size,
    num_steps, learning_rate, near, far,
) -> Study:
  """A Gaussian policy far from its target: what a graded reward is worth."""

  def rewards_of(name, x, noise_key):
    gap = jnp.abs(x)
    score = transforms.gaussian_proximity(gap, width=width)
    noisy = score + noise * jax.random.normal(noise_key, x.shape)
    tiers = lambda s: transforms.quantize(s, num_tiers=num_tiers)
    return {
        "binary": (gap < inside).astype(float),
        "noisy continuous": noisy,
        "tiers": tiers(score),
        "tiers of the noisy score": tiers(noisy),
    }[name]

  def run(key, name):

    def step(mean, step_key):
      draw_key, noise_key = jax.random.split(step_key)
      z = jax.random.normal(draw_key, (group_size,))
      rewards = rewards_of(name, mean + z, noise_key)
      # The score of a unit Gaussian in its mean is z.
      slope = jnp.mean(group.standardized(rewards) * z)
      mean = mean + learning_rate * slope
      return mean, jnp.abs(mean)

    keys = jax.random.split(key, num_steps)
    return jax.lax.scan(step, jnp.array(-float(distance)), keys)[1]

  names = ("binary", "noisy continuous", "tiers", "tiers of the noisy score")
  lines = tables.side_by_side(run, names, seed=seed, num_seeds=num_seeds)
  last = tables.last_means(lines)
  return Study(
      "Sweet spot: tiers, a continuous score and a pass",
      f"Final error of both kinds of tiers below {near:g}, of the pass above "
      f"{far:g}; against the continuous score only a tie is claimed",
      bool(
          max(last["tiers"], last["tiers of the noisy score"]) < near
          and last["binary"] > far
      ),
      tables.last_rows(lines, "final error"),
      {"error": tables.curves(lines, "distance from the target")},
  )
