"""Steps judged alone, and together with the step before them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from experiments.reward_studies.beds import steps
from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.core.random import split_named
from rewardjax.search import compression, monte_carlo, selection

# How right a step looks by itself, in units of the signal. A step that mends
# an error begins with the error; a bluff looks best, but does not follow.
_LOOKS = {"right": 1.0, "wrong": -1.0, "mend": -0.5, "bluff": 2.0}
_ARMS = ("steps", "steps and pairs", "trees", "compressed trees")
_RIGHT, _WRONG, _MEND, _BLUFF = range(len(_LOOKS))


class Drawn(NamedTuple):
  """Steps behind given ones: what stands after them, and what is seen.

  right: whether what stands after each is right.
  looks: of each step by itself.
  leap: how little it follows from the one before it; seen in pairs alone.
  """

  right: Bool[Array, "*batch"]
  looks: Float[Array, "*batch D"]
  leap: Float[Array, "*batch"]


class World(NamedTuple):
  """What steps the policy takes."""

  num_features: int
  signal: float
  leap_noise: float
  success: float  # of a step behind right ones
  repair: float  # the chance that a step behind an error mends it
  bluff: float

  def draw(self, key, right: Bool[Array, "*batch"]) -> Drawn:
    """A step behind each prefix; `right` says whether it is right."""
    keys = split_named(key, "kind", "bluff", "looks", "leap")
    u = jax.random.uniform(keys["kind"], right.shape)
    kind = jnp.where(
        right,
        jnp.where(u < self.success, _RIGHT, _WRONG),
        jnp.where(u < self.repair, _MEND, _WRONG),
    )
    bluffs = jax.random.bernoulli(keys["bluff"], self.bluff, right.shape)
    kind = jnp.where(bluffs, _BLUFF, kind)
    looks = jnp.array(list(_LOOKS.values()))[kind]
    noise = jax.random.normal(
        keys["looks"], (*right.shape, self.num_features)
    )
    shift = self.signal / jnp.sqrt(self.num_features) * looks
    leap = self.leap_noise * jax.random.normal(keys["leap"], right.shape)
    after = (kind == _RIGHT) | (kind == _MEND)
    return Drawn(after, noise + shift[..., None], leap + (kind == _BLUFF))


def alone(drawn: Drawn) -> Float[Array, "*batch F"]:
  """What a judge sees of a block of one step."""
  none = jnp.zeros_like(drawn.looks)
  ends = jnp.zeros((*drawn.leap.shape, 2))
  return jnp.concatenate([drawn.looks, none, ends], axis=-1)


def merged(drawn: Drawn, before) -> Float[Array, "*batch F"]:
  """What it sees of two steps as one block; `before` is how the first looks."""
  ends = jnp.stack([drawn.leap, jnp.ones_like(drawn.leap)], axis=-1)
  return jnp.concatenate([drawn.looks, before, ends], axis=-1)


def _chain_data(key, world, num_chains, num_steps):
  """Labelled chains: features of every step, then of every two; labels."""

  def turn(carry, key):
    right, before = carry
    drawn = world.draw(key, right)
    seen = alone(drawn), merged(drawn, before), drawn.right
    return (drawn.right, drawn.looks), seen

  looks = jnp.zeros((num_chains, world.num_features))
  start = jnp.ones(num_chains, bool), looks
  keys = jax.random.split(key, num_steps)
  found = jax.lax.scan(turn, start, keys)[1]
  fine, coarse, right = (jnp.moveaxis(x, 0, 1) for x in found)
  targets = jnp.concatenate([right, right[:, 1:]], axis=1).astype(float)
  return jnp.concatenate([fine, coarse[:, 1:]], axis=1), targets


def full_tree(branching: int, depth: int) -> np.ndarray:
  """The parent of each node, level by level; -1 for the root."""
  sizes = branching ** np.arange(depth + 1)
  count = int(sizes.sum())
  return np.concatenate([[-1], np.arange(count - 1) // branching])


def _tree_data(key, world, num_trees, *, branching, depth, share):
  """Features of all nodes of trees but the roots, and the share of right
  answers below each. `share` of the large nodes give a child up, which makes
  it a block of two steps."""
  parents = jnp.array(full_tree(branching, depth))

  def one(key):
    keys = split_named(key, "root", "nodes", "moves")
    level = world.draw(keys["root"], jnp.ones(1, bool))
    level = level._replace(right=jnp.ones(1, bool))
    levels = [level]
    for i in range(depth):
      above = jnp.repeat(levels[-1].right, branching)
      levels.append(world.draw(jax.random.fold_in(keys["nodes"], i), above))
    nodes = jax.tree.map(lambda *x: jnp.concatenate(x), *levels)
    moved = compression.node_compression(
        keys["moves"], parents, probability=share
    )
    scores = monte_carlo.tree_mc_scores(moved.parents, nodes.right)
    before = nodes.looks[jnp.maximum(moved.merged, 0)]
    seen = jnp.where(
        (moved.merged >= 0)[:, None], merged(nodes, before), alone(nodes)
    )
    return seen[1:], scores[1:]

  return jax.vmap(one)(jax.random.split(key, num_trees))


def _search(key, world, judge, pairs, *, num_problems, num_steps, sizes):
  """Accuracy of greedy search over steps, for each number of candidates.

  `pairs` says whether scores of steps are averaged with those of pairs.
  """
  most = max(sizes)

  def solve(size, key):
    def turn(carry, inputs):
      right, before = carry
      first, key = inputs
      wide = jnp.broadcast_to(right[:, None], (num_problems, most))
      drawn = world.draw(key, wide)
      p = jax.nn.sigmoid(judge(alone(drawn)))
      past = jnp.broadcast_to(before[:, None], drawn.looks.shape)
      both = (p + jax.nn.sigmoid(judge(merged(drawn, past)))) / 2
      scores = jnp.where(pairs & ~first, both, p)
      real = jnp.broadcast_to(jnp.arange(most)[None] < size, scores.shape)
      best = selection.best_of_n(scores, real)
      taken = jax.tree.map(lambda x: x[jnp.arange(num_problems), best], drawn)
      return (taken.right, taken.looks), None

    start = (
        jnp.ones(num_problems, bool),
        jnp.zeros((num_problems, world.num_features)),
    )
    keys = jax.random.split(key, num_steps)
    inputs = jnp.arange(num_steps) == 0, keys
    return jnp.mean(jax.lax.scan(turn, start, inputs)[0][0])

  return jax.vmap(solve, (0, None))(jnp.array(sizes), key)


def hrm(
    *, seed, num_seeds, sizes, num_chains, num_trees, tree, num_problems,
    num_chain_steps, world, margin, **fit,
) -> Study:
  """Greedy search over steps, guided by judges of steps or of pairs as well.

  The tree arms learn shares of right answers below the nodes of `num_trees`
  trees, whose nodes are single steps, or compressed.
  """
  world = World(**world)

  def run(key):
    keys = split_named(key, "chains", "trees", "fit", "search")
    features, targets = _chain_data(
        keys["chains"], world, num_chains, num_chain_steps
    )
    fine = jnp.arange(targets.shape[1])[None] < num_chain_steps
    fine = jnp.broadcast_to(fine, targets.shape)
    grow = lambda share: _tree_data(
        keys["trees"], world, num_trees, share=share, **tree
    )
    masks = jnp.stack([fine, jnp.ones_like(fine)])
    seen, scores = jax.vmap(grow)(jnp.array([0.0, 0.5]))
    pairs = jnp.array([False, True])

    def accuracy(features, targets, mask, pairs):
      judge = steps.fit_judge(keys["fit"], (features, targets, mask), **fit)
      return _search(
          keys["search"], world, judge, pairs, sizes=sizes,
          num_problems=num_problems, num_steps=num_chain_steps,
      )

    chains = jax.vmap(accuracy, (None, None, 0, 0))(
        features, targets, masks, pairs
    )
    every = jnp.ones(scores.shape, bool)
    trees = jax.vmap(accuracy)(seen, scores, every, pairs)
    return dict(zip(_ARMS, (*chains, *trees)))

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  mean = {name: np.mean(x, axis=0) for name, x in found.items()}
  single, both = mean["steps"], mean["steps and pairs"]
  steady = both[-1] >= both[0] and single[-1] < single[0]
  ahead = both[-1] - single[-1] >= margin
  helps = mean["compressed trees"][-1] >= mean["trees"][-1]
  return Study(
      "HRM: search over steps guided by judges of steps and of pairs",
      f"From {sizes[0]} to {sizes[-1]} candidates pairs do not fall and steps "
      f"alone do, or pairs are ahead by {margin:g} at the end; compression "
      f"does not harm with {num_trees} trees",
      bool((steady or ahead) and helps),
      [
          mean_row(name, f"accuracy, {size} candidates", x[:, i])
          for i, size in enumerate(sizes)
          for name, x in found.items()
      ],
      {"accuracy": Curves(np.array(sizes), found, "candidates", "accuracy")},
  )
