"""Labels of steps from trees of steps, with a tool that checks each step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_studies.beds import steps
from experiments.reward_studies.step_labels import MEASURES, learned
from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.core.random import split_named
from rewardjax.noise.steps import StepTargets
from rewardjax.search import mcts, step_labels


class Step(NamedTuple):
  """One step: whether it is right, and what the tool says of it."""

  right: bool
  checked: bool


def problem_of(skill, *, depth, tool_accuracy, wrong_rate) -> mcts.Problem:
  """A problem of `depth` steps and an answer behind them.

  Args:
    skill: the chance that a step behind right ones is right.
    depth: steps before the answer.
    tool_accuracy: of the tool, for each step.
    wrong_rate: the chance that a wrong chain has the right answer.
  """

  def expand(key, path, n):
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    before = not path or path[-1].right
    rate = 1.0 if len(path) == depth else skill
    rate = rate if before else wrong_rate * (len(path) == depth)
    right = draw.random(n) < rate
    checked = right == (draw.random(n) < tool_accuracy)
    return [Step(bool(r), bool(c)) for r, c in zip(right, checked)]

  return mcts.Problem(
      expand,
      check_step=lambda path: path[-1].checked,
      check_final=lambda path: path[-1].right,
      is_final=lambda path: len(path) > depth,
  )


class Found(NamedTuple):
  """Chains of a tree, without their answers: N chains of K steps."""

  values: np.ndarray
  verdicts: np.ndarray
  right: np.ndarray
  correct: np.ndarray  # [N], the answer
  mask: np.ndarray
  skill: np.ndarray  # [N]


def _chains_of(key, skill, world, search, num_paths) -> Found:
  """At most `num_paths` right chains of one problem's tree and as many wrong.
  """
  problem = problem_of(skill, **world)
  nodes = mcts.mcts(key, problem, max_depth=world["depth"] + 1, **search)
  paths = mcts.extract_paths(nodes, num_right=num_paths, num_wrong=num_paths)
  shape = (2 * num_paths, world["depth"])
  rows = np.zeros((4, *shape), np.float32)
  correct = np.zeros(shape[0], bool)
  for i, path in enumerate(paths):
    correct[i] = nodes[path[-1]].verdict > 0
    for k, place in enumerate(path[:-1]):
      node = nodes[place]
      rows[:, i, k] = node.value, node.verdict, node.path[-1].right, 1
  values, verdicts, right, mask = rows
  chance = np.full(shape[0], skill, np.float32)
  return Found(values, verdicts, right > 0, correct, mask > 0, chance)


def _grow(key, num_problems, skill, **options) -> Found:
  """The chains of all problems of one seed; runs on the host."""
  skills_key, tree_key = jax.random.split(key)
  low, high = skill
  skills = jax.random.uniform(
      skills_key, (num_problems,), minval=low, maxval=high
  )
  found = [
      _chains_of(jax.random.fold_in(tree_key, i), float(skill), **options)
      for i, skill in enumerate(np.asarray(skills))
  ]
  return Found(*map(np.concatenate, zip(*found)))


def _labels(key, found: Found, *, num_samples, wrong_rate):
  """Labels of every arm of `grounded_prm`, by name."""
  depth = found.right.shape[-1]
  left = jnp.arange(depth - 1, -1, -1)[None]
  chances = jnp.where(found.right, found.skill[:, None] ** left, wrong_rate)
  wide = jnp.broadcast_to(chances[None], (num_samples, *chances.shape))
  ends = jax.random.bernoulli(key, wide)
  hard = lambda said: StepTargets(said.astype(float), found.mask)
  agreed = step_labels.path_labels(
      found.values, found.verdicts, found.correct, found.mask
  )
  return {
      "completions": hard(jnp.mean(ends, axis=0) >= 0.5),
      "tool": hard(found.verdicts > 0),
      "value": hard(found.values >= 0),
      "tool and value": StepTargets(agreed.labels.astype(float), agreed.mask),
      "truth": hard(found.right),
  }


def grounded_prm(
    *, seed, num_seeds, num_problems, num_test, num_features, signal, skill,
    world, search, num_paths, num_samples, margin, **fit,
) -> Study:
  """Labels from completions, from a tool, from both, and judges they make."""
  keys = seed_keys(seed, num_seeds)
  grown = [
      _grow(jax.random.fold_in(key, 0), num_problems, skill,
            world=world, search=search, num_paths=num_paths)
      for key in keys
  ]
  grown = Found(*map(jnp.stack, zip(*grown)))
  sees = dict(num_features=num_features, signal=signal)

  def run(key, found):
    keys = split_named(key, "ends", "features", "test", "fit")
    features = steps.step_features(keys["features"], found.right, **sees)
    chains = steps.Chains(features, found.right, found.skill)
    test = steps.draw_chains(
        keys["test"], num_test, num_steps=world["depth"], **sees
    )
    arms = _labels(
        keys["ends"], found,
        num_samples=num_samples, wrong_rate=world["wrong_rate"],
    )
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *arms.values())
    learn = lambda arm: learned(keys["fit"], chains, arm, test, fit)
    kept = {k: jnp.sum(x.mask) / jnp.sum(found.mask) for k, x in arms.items()}
    return dict(zip(arms, jax.vmap(learn)(stacked))), kept

  found, kept = jax.device_get(jax.jit(jax.vmap(run))(keys, grown))
  right = grown.right.sum((1, 2)) / grown.mask.sum((1, 2))
  accuracy = {name: np.mean(x[:, 0]) for name, x in found.items()}
  passed = accuracy["tool and value"] - accuracy["completions"] >= margin
  return Study(
      "GroundedPRM: a tool that checks steps, and the tree around it",
      "Labels of tool and value are right more often than those of "
      f"completions by {margin:g}",
      bool(passed),
      [
          mean_row(name, metric, x[:, i])
          for i, metric in enumerate(MEASURES)
          for name, x in found.items()
      ]
      + [mean_row(name, "steps kept", x) for name, x in kept.items()]
      + [mean_row("truth", "right steps", np.asarray(right))],
      {},
      f"{NOTE} Values are those of whole chains of a tree, most of them right: "
      "a label that is always right would be right as often as steps are.",
  )
