"""What matters when an agent learns over several turns, on small quests."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments import agents
from experiments.noise_studies import tables
from experiments.studies import Study, mean_row
from rewardjax.environments import quests
from rewardjax.environments.quests import Quest, Sizes

REWARDS = {"sparse": 0.0, "dense": 1.0}


def expert(params, tokens, length):
  """The scripted solution, read off the last observation."""
  sizes = params
  room, goal = (tokens[length - i] - quests.NUM_ACTIONS for i in (2, 1))
  action = quests.expert(Quest(room, goal[None], jnp.array(0)), sizes)
  return jnp.where(jnp.arange(quests.NUM_ACTIONS) == action, 0.0, -1e9)


def _success(key, sizes, params, *, num_turns, episodes):
  """The share of fresh quests of these sizes that are done."""
  played = agents.play(
      key, quests.world(sizes), agents.policy, params,
      num_turns=num_turns, shape=(episodes, 1),
  )
  return jnp.mean(played.success)


def _algorithms(seed, num_seeds, sizes, larger, learning):
  """Success at each step, and then on larger quests, for all six arms."""
  lines, moved = {}, {}
  for name in agents.LOSSES:
    def run(key, dense, name=name):
      key, larger_key = jax.random.split(key)
      setup = agents.Setup(name, dense=dense, most=sizes.length, **learning)
      params, line = agents.learn(key, quests.world(sizes), setup)
      return line, _success(larger_key, larger[0], params, **larger[1])

    arms = {f"{name}, {r}": jnp.array(x) for r, x in REWARDS.items()}
    found = tables.stacked(run, arms, seed=seed, num_seeds=num_seeds)
    lines |= {arm: x[0] for arm, x in found.items()}
    moved |= {arm: x[1] for arm, x in found.items()}
  return lines, moved


def _budgets(seed, num_seeds, sizes, learning, *, shares, price, imitation):
  """Success when a share of the budget buys demonstrations.

  The budget are the episodes of all steps; a demonstration costs `price`.
  """
  setup = agents.Setup("ppo", dense=0.0, most=sizes.length, **learning)
  world = quests.world(sizes)
  each = setup.batch_size * setup.group_size
  most = int(max(shares) * setup.num_steps * each / price)

  def run(key, share):
    init_key, show_key, imitate_key, key = jax.random.split(key, 4)
    shown = agents.play(
        show_key, world, expert, sizes, num_turns=setup.num_turns,
        shape=(most, 1),
    )
    bought = jnp.arange(most)[:, None] < share * setup.num_steps * each / price
    params = agents.imitate(
        imitate_key, agents.init(init_key, world, setup.width), shown, bought,
        **imitation,
    )
    return agents.learn(key, world, setup, params)[1]

  arms = {f"{x:.0%} demonstrations": jnp.array(x) for x in shares}
  return tables.stacked(run, arms, seed=seed, num_seeds=num_seeds)


def _within_budget(lines, shares):
  """The success of each line where its share leaves no further step."""
  steps = next(iter(lines.values())).shape[-1]
  left = [max(round((1 - share) * steps), 1) for share in shares]
  return {n: x[:, i - 1] for (n, x), i in zip(lines.items(), left)}


def multiturn_guide(
    *, seed, num_seeds, sizes, larger, larger_turns, test_episodes, window,
    level, budget, **learning,
) -> Study:
  """Algorithms and rewards side by side, and what demonstrations buy."""
  sizes, larger = Sizes(**sizes), Sizes(**larger)
  options = dict(num_turns=larger_turns, episodes=test_episodes)
  lines, moved = _algorithms(
      seed, num_seeds, sizes, (larger, options), learning
  )
  lines = {name: tables.trailing(x, window) for name, x in lines.items()}
  steps = {name: tables.first_above(x, level) for name, x in lines.items()}
  bought = _budgets(seed, num_seeds, sizes, learning, **budget)
  bought = {name: tables.trailing(x, window) for name, x in bought.items()}
  final = _within_budget(bought, budget["shares"])
  rows = [mean_row(n, f"updates to {level:g} success", x)
          for n, x in steps.items()]
  rows += tables.last_rows(lines, "success at the end")
  rows += [mean_row(n, "success on larger quests", x) for n, x in moved.items()]
  rows += [mean_row(n, "success within the budget", x)
           for n, x in final.items()]
  none, *some = (np.mean(x) for x in final.values())
  faster = np.mean(steps["ppo, dense"]) < np.mean(steps["ppo, sparse"])
  return Study(
      "Multi-turn agents: algorithm, reward and demonstrations",
      f"PPO reaches {level:g} success in fewer updates with dense rewards than "
      "with sparse ones, and some demonstrations beat none within one budget",
      bool(faster and max(some) > none),
      rows,
      {
          "success": tables.curves(lines, "success"),
          "budget": tables.curves(bought, "success")._replace(
              x_label="step after the demonstrations"
          ),
      },
      f"Success is that of the samples, means over {window} steps. A "
      f"demonstration costs as much as {budget['price']:g} sampled episodes; "
      "the figure goes on beyond the budget. Means over seeds with 95 % "
      "Student-t intervals.",
  )
