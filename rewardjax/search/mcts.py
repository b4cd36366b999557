"""Tree search for labels of steps, each step checked by itself as well.

The search runs on the host: its callables may ask a model or a tool. A step
is any object, a path a tuple of steps from the root, without the root.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from rewardjax.core import checks
from rewardjax.search import step_labels

Path = tuple[Any, ...]


class Problem(NamedTuple):
  """What is searched; keys are consumed.

  expand: (key, path, n) -> at most n next steps.
  check_step: path -> whether its last step is right, whatever came before.
  check_final: path -> whether the answer at its end is right.
  is_final: path -> whether its last step gives an answer.
  """

  expand: Callable[[Any, Path, int], Sequence[Any]]
  check_step: Callable[[Path], bool]
  check_final: Callable[[Path], bool]
  is_final: Callable[[Path], bool]


class Node(NamedTuple):
  """One step of the tree, by its place in a list of nodes; 0 is the root.

  parent: an earlier node, -1 for the root.
  verdict: 1 or -1, of the step by itself; of an answer, whether it is right;
    0 for the root.
  value: sum of what came back from below.
  visits: how often.
  """

  parent: int
  path: Path
  verdict: int
  final: bool
  children: list[int]
  value: float = 0.0
  visits: int = 0


def uct(
    value: float,
    visits: int,
    parent_visits: int,
    *,
    exploration: float,
    sign: int = 1,
) -> float:
  """sign * value / visits + c sqrt(log(parent visits + 1) / (visits + 1)).

  Differs from the paper, which adds values up: their mean, or a node would be
  preferred for having been visited.

  Args:
    value: sum of what came back.
    visits: how often.
    parent_visits: how often something came back through the parent.
    exploration: c; 0 is greedy.
    sign: -1 looks for chains that go wrong.

  References:
    "GroundedPRM: Tree-Guided and Fidelity-Aware Process Reward Modeling".
  """
  mean = value / visits if visits else 0.0
  bonus = math.sqrt(math.log(parent_visits + 1) / (visits + 1))
  return sign * mean + exploration * bonus


def mcts(
    key: Key[Array, ""],
    problem: Problem,
    *,
    num_rounds: int = 10,
    num_children: int = 3,
    max_depth: int = 5,
    exploration: float = 1.414,
    decay: float = 0.9,
    sign: int = 1,
) -> list[Node]:
  """Grows a tree of steps; the value of each says how what follows fares.

  Each round walks down by `uct`, opens the leaf it finds (or takes it as it
  is, if nobody has been there), completes it one step at a time, and adds
  decay^distance times `hybrid_rollout_value` to all nodes above. A completion
  without an answer at `max_depth` is a wrong one.

  Args:
    key: consumed.
    problem: what is searched.
    num_rounds: completions in all.
    num_children: steps tried after each.
    max_depth: the longest path.
    exploration: of `uct`.
    decay: per step upwards.
    sign: 1 for right chains, -1 for wrong ones.

  Returns:
    Nodes, each behind its parent; equal steps of one node stay apart.

  Raises:
    ValueError: if a size is less than 1, or `decay` is outside [0, 1].

  References:
    "GroundedPRM: Tree-Guided and Fidelity-Aware Process Reward Modeling".
      The released code draws children at random; ours follows the text.
  """
  checks.at_least(
      "mcts",
      1,
      num_rounds=num_rounds,
      num_children=num_children,
      max_depth=max_depth,
  )
  checks.probability("mcts", decay=decay)
  nodes = [Node(-1, (), 0, False, [])]
  for turn in range(num_rounds):
    keys = jax.random.split(jax.random.fold_in(key, turn))
    place = _walk(nodes, exploration, sign)
    node = nodes[place]
    fresh = node.visits == 0 and place > 0
    if not (fresh or node.final or len(node.path) >= max_depth):
      for step in problem.expand(keys[0], node.path, num_children):
        _add(nodes, place, step, problem)
      place = nodes[place].children[0] if nodes[place].children else place
    value = _complete(keys[1], nodes[place], problem, max_depth)
    _back_up(nodes, place, value, decay)
  return nodes


def _walk(nodes, exploration, sign):
  place = 0
  while nodes[place].children:
    above = nodes[place].visits
    score = lambda i: uct(
        nodes[i].value,
        nodes[i].visits,
        above,  # noqa: B023, used at once
        exploration=exploration,
        sign=sign,
    )
    place = max(nodes[place].children, key=score)
  return place


def _add(nodes, parent, step, problem):
  path = (*nodes[parent].path, step)
  final = bool(problem.is_final(path))
  right = problem.check_final(path) if final else problem.check_step(path)
  nodes[parent].children.append(len(nodes))
  nodes.append(Node(parent, path, 1 if right else -1, final, []))


def _complete(key, node, problem, max_depth) -> float:
  """The value of one completion of a node."""
  path, final, verdicts = node.path, node.final, []
  while not final and len(path) < max_depth:
    key, draw = jax.random.split(key)
    following = problem.expand(draw, path, 1)
    if not len(following):
      break
    path = (*path, following[0])
    final = bool(problem.is_final(path))
    if not final:
      verdicts.append(1.0 if problem.check_step(path) else -1.0)
  outcome = 1.0 if final and problem.check_final(path) else -1.0
  # Padded to one length: a new shape would be compiled anew.
  padded = jnp.array(verdicts + [0.0] * (max_depth - len(verdicts)))
  mask = jnp.arange(max_depth) < len(verdicts)
  outcome = jnp.array(outcome)
  return float(step_labels.hybrid_rollout_value(padded, outcome, mask))


def _back_up(nodes, place, value, decay):
  while place >= 0:
    node = nodes[place]
    nodes[place] = node._replace(
        value=node.value + value, visits=node.visits + 1
    )
    place, value = node.parent, value * decay


def extract_paths(
    nodes: Sequence[Node], *, num_right: int, num_wrong: int
) -> list[list[int]]:
  """Nodes from below the root to an answer, the right chains first.

  Args:
    nodes: of `mcts`.
    num_right: at most so many with a right answer, in the order found.
    num_wrong: at most so many with a wrong one.
  """
  chains = {1: [], -1: []}
  for place, node in enumerate(nodes):
    if node.final:
      chain = [place]
      while nodes[chain[0]].parent > 0:
        chain.insert(0, nodes[chain[0]].parent)
      chains[node.verdict].append(chain)
  return chains[1][:num_right] + chains[-1][:num_wrong]
