"""A teacher paid by what its problems do for a student.

    taught = inner_train(step, student, problems, keys)
    reward = grounded_rewards(...)     # progress on problems out of reach

Everything about the student enters as functions, so any model fits: `step`
learns from a set of problems, `measure` says how good it is on a hard set
that the teacher never sees.

References:
  "Teaching Models to Teach Themselves" (SOAR).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, PyTree

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def inner_train(
    step: Callable[..., PyTree],
    student: PyTree,
    problems: PyTree,
    key: Key[Array, ""],
    *,
    num_steps: int,
) -> PyTree:
  """The student after `num_steps` of learning from one set of problems.

  Args:
    step: pure `(key, student, problems) -> student` (static).
    student: params, or params and the state of an optimiser; not changed.
    problems: one set.
    key: consumed.
    num_steps: static.

  Raises:
    ValueError: if `num_steps` is not positive.
  """
  checks.at_least("inner_train", 1, num_steps=num_steps)
  advance = lambda student, key: (step(key, student, problems), None)
  return jax.lax.scan(advance, student, jax.random.split(key, num_steps))[0]


class Taught(NamedTuple):
  """What K sets of problems did; a leading axis K on everything.

  rewards: progress on the hard set, averaged over repeats.
  students: after learning from each set, of the first repeat.
  """

  rewards: Float[Array, " K"]
  students: PyTree


def grounded_rewards(
    key: Key[Array, ""],
    step: Callable[..., PyTree],
    measure: Callable[..., Array],
    student: PyTree,
    sets: PyTree,
    *,
    num_steps: int,
    num_repeats: int = 1,
) -> Taught:
  """Accuracy on the hard set after learning from each set, less that before.

  All sets use the same keys, for learning and for measuring: two equal sets
  get equal rewards, and their difference varies less than they do. Before and
  after are measured with one key too, so that a set that teaches nothing gets
  exactly 0.

  Args:
    key: consumed.
    step: see `inner_train` (static).
    measure: pure `(key, student) -> accuracy`, on hard problems that the sets
      do not hold, with answers that the teacher did not write (static).
    student: the baseline.
    sets: K sets; every leaf has a leading axis K.
    num_steps: of each student (static).
    num_repeats: students per set (static); their mean is the reward.

  Raises:
    ValueError: if a size is not positive.
  """
  checks.at_least("grounded_rewards", 1, num_repeats=num_repeats)

  def once(key, problems):
    learn_key, measure_key = jax.random.split(key)
    after = inner_train(step, student, problems, learn_key, num_steps=num_steps)
    return measure(measure_key, after) - measure(measure_key, student), after

  keys = jax.random.split(key, num_repeats)
  over_sets = jax.vmap(jax.vmap(once, (0, None)), (None, 0))
  gains, after = over_sets(keys, sets)
  first = jax.tree.map(lambda x: x[:, 0], after)
  return Taught(jnp.mean(gains, axis=1), first)


def learnability(
    pass_rate: Float[Array, "*shape"],
) -> Float[Array, "*shape"]:
  """1 - |2 p - 1|: highest where a student succeeds half of the time.

  A reward that looks at the student and not at the goal: the baseline that
  grounded rewards are compared with.

  Gradient: flows through `pass_rate`.
  """
  return 1 - jnp.abs(2 * masking.as_accumulator(pass_rate) - 1)


class Promotion(NamedTuple):
  """The baseline student, and how well its teacher has done of late.

  average: moving average of the mean reward, since the last promotion.
  steps: outer steps since then.
  promotions: how many there were.
  """

  student: PyTree
  average: Float[Array, ""]
  steps: Array
  promotions: Array


def init_promotion(student: PyTree) -> Promotion:
  """The first baseline."""
  zero = jnp.zeros((), jnp.int32)
  return Promotion(student, jnp.zeros(()), zero, zero)


def promote(
    state: Promotion,
    taught: Taught,
    *,
    threshold: Scalar = 0.01,
    decay: Scalar = 0.5,
) -> tuple[Promotion, Bool[Array, ""]]:
  """Makes the best student the baseline once teaching has paid for a while.

  Args:
    state: before.
    taught: of this outer step.
    threshold: the average of rewards must exceed it.
    decay: of the moving average, which starts at its first value.

  Returns:
    The state, and whether the best student was promoted; keep its set then.

  Raises:
    ValueError: if `decay` is no probability.
  """
  checks.probability("promote", decay=decay)
  now = jnp.mean(taught.rewards)
  moved = decay * state.average + (1 - decay) * now
  average = jnp.where(state.steps == 0, now, moved)
  best = jnp.argmax(taught.rewards)
  # A best set that did harm is never followed, whatever came before.
  better = (average > threshold) & (taught.rewards[best] > 0)
  choose = lambda new, old: jnp.where(better, new[best], old)
  student = jax.tree.map(choose, taught.students, state.student)
  fresh: Any = Promotion(
      student,
      jnp.where(better, 0.0, average),
      jnp.where(better, 0, state.steps + 1),
      state.promotions + better,
  )
  return fresh, better
