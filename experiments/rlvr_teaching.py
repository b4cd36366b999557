"""A teacher that writes the problems of `experiments.rlvr`; pure, of one seed.

    K sets of problems -> a student of each -> what each has gained on problems
    of the data -> the teacher's reward; the best student may become the start

The students are copies of one agent (`rlvr_learner.Agent`) and learn by the
steps of `rlvr_programs`; the teacher has the same model and parameters of its
own. Axes: K sets, n problems of a set, T tokens of a text, B problems of the
data.

References:
  "Teaching Models to Teach Themselves" (SOAR).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from experiments import (
    rlvr_evaluation,
    rlvr_learner,
    rlvr_policy,
    rlvr_programs,
    rlvr_sampling,
    rlvr_stages,
    rlvr_writing,
)
from experiments.rlvr_learner import Agent
from experiments.rlvr_policy import Setup
from experiments.rlvr_writing import Form, Written
from experiments.tasks import Problems
from rewardjax.core import random, reduction
from rewardjax.core.masking import Mean
from rewardjax.objectives import policy_gradient
from rewardjax.training import loop, teaching
from rewardjax.training.state import TrainState, init_state
from rewardjax.training.step import make_train_step
from rewardjax.types import Rollouts


class State(NamedTuple):
  """All that a run with a teacher changes; what a checkpoint holds.

  promotion: of the agent that all students start from.
  kept: the set that made it; nothing valid before the first promotion.
  step: outer steps taken.
  """

  teacher: TrainState
  promotion: teaching.Promotion
  kept: Written
  key: Key[Array, ""]
  step: Int[Array, ""]


class Lesson(NamedTuple):
  """What the teacher learns from; every leaf leads with n."""

  rollouts: Rollouts
  advantages: Float[Array, "n K"]
  valid: Bool[Array, "n K"]


def init(setup: Setup, agent: Agent, params: PyTree) -> State:
  """Before the first step; `params` are the teacher's."""
  config = setup.config
  size = config.teacher.set_size
  empty = lambda length: jnp.zeros((size, length), jnp.int32)
  prompts, answers = map(
      empty, (config.task.prompt_length, config.task.answer_length)
  )
  problems = Problems(
      prompts, prompts > 0, answers, answers > 0, prompts[:, 0]
  )
  none = jnp.zeros(size, bool)
  optimizer = rlvr_learner.optimizer(rlvr_writing.writer(setup).config)
  return State(
      # The students' start may be the same array: both are donated.
      init_state(jax.tree.map(jnp.copy, params), optimizer),
      teaching.init_promotion(agent),
      Written(problems, none, none),
      jax.random.fold_in(agent.key, 0),
      jnp.zeros((), jnp.int32),
  )


def make_inner(setup: Setup) -> Callable[..., Agent]:
  """Returns the pure `(key, student, written) -> student` of one inner step.

  What is no problem is left out; of a set without any nothing is learned.
  """
  gather = rlvr_programs.make_gather(setup)
  learn = rlvr_programs.make_learn(setup)

  def step(key, student: Agent, written: Written) -> Agent:
    agent = student._replace(key=key)
    batch = gather(agent, written.problems)
    batch = rlvr_programs.drop_dead(batch, written.valid)
    learned = learn(agent, batch)[0]._replace(key=student.key)
    return _choose(jnp.any(written.valid), learned, student)

  return step


def _choose(which, new: PyTree, old: PyTree) -> PyTree:
  return jax.tree.map(lambda x, y: jnp.where(which, x, y), new, old)


def make_measure(setup: Setup, hard: Problems) -> Callable:
  """Returns the pure `(key, student) -> success` on problems of the data."""
  success = rlvr_evaluation.make_success(setup, hard)
  return lambda key, student: success(student.train.params)["accuracy"]


def teach(
    setup: Setup, key, student: Agent, sets: Written, hard: Problems
) -> teaching.Taught:
  """What each set does for a student; `key` is consumed."""
  o = setup.config.teacher
  return teaching.grounded_rewards(
      key,
      make_inner(setup),
      make_measure(setup, hard),
      student,
      sets,
      num_steps=o.inner_steps,
      num_repeats=o.repeats,
  )


def advantages_of(
    config, rewards: Float[Array, " K"], valid: Bool[Array, " K"]
) -> Float[Array, " K"]:
  """Each set is a sample of one group; one without a problem is unknown."""
  estimator = rlvr_stages.GROUP_ESTIMATORS[config.teacher.estimator]
  return estimator(config.credit)(rewards, valid)


def make_loss_fn(writer: Setup):
  """Returns `(params, lesson, key) -> (loss, metrics)` of a teacher."""

  def loss_fn(params, lesson: Lesson, key):
    del key  # no dropout
    found = rlvr_policy.score(writer, params, lesson.rollouts)
    mask = lesson.rollouts.mask & lesson.valid[..., None]
    losses = policy_gradient.score_surrogate(
        found.log_probs, lesson.advantages[..., None]
    )
    entropy = Mean.of(found.entropies, lesson.rollouts.mask)
    return reduction.sequence_sum_mean(losses, mask), {"entropy": entropy}

  return loss_fn


def update(
    setup: Setup, teacher: TrainState, rollouts: Rollouts, sets: Written,
    rewards: Float[Array, " K"], key,
):  # fmt: skip
  """One step of the teacher; none if no set is better than another."""
  config = rlvr_writing.writer(setup).config
  advantages = advantages_of(config, rewards, jnp.any(sets.valid, -1))
  spread = jnp.broadcast_to(advantages, rollouts.truncated.shape)
  train_step = make_train_step(
      make_loss_fn(rlvr_writing.writer(setup)),
      rlvr_learner.optimizer(config),
      num_microbatches=config.num_microbatches,
      compute_dtype=config.compute_dtype or None,
  )
  lesson = Lesson(rollouts, spread, sets.valid.T)
  learned, metrics = train_step(teacher, lesson, key)
  return _choose(jnp.any(advantages != 0), learned, teacher), metrics


def write(setup: Setup, key, teacher: TrainState, form: Form):
  """The teacher's texts `[n, K, T]`; `key` is consumed."""
  asked = rlvr_writing.request(form, setup.config.teacher.set_size)
  writer = rlvr_writing.writer(setup)
  return rlvr_sampling.sample(writer, key, teacher.params, asked)


def read(
    setup: Setup, form: Form, rollouts: Rollouts, hard: Problems
) -> Written:
  """The texts as K sets of problems."""
  o = setup.config.task
  return rlvr_writing.parse(
      form,
      rollouts,
      hard,
      stop_tokens=setup.stop_tokens,
      prompt_length=o.prompt_length,
      answer_length=o.answer_length,
  )


def make_step(setup: Setup, form: Form) -> Callable[..., tuple[State, dict]]:
  """Returns the pure `(state, hard problems) -> (state, metrics)`."""
  o = setup.config.teacher

  def step(state: State, hard: Problems):
    keys = step_keys(state)
    rollouts = write(setup, keys["write"], state.teacher, form)
    sets = read(setup, form, rollouts, hard)
    student = state.promotion.student
    taught = teach(setup, keys["teach"], student, sets, hard)
    teacher, found = update(
        setup, state.teacher, rollouts, sets, taught.rewards, keys["update"]
    )
    promotion, promoted = teaching.promote(
        state.promotion, taught, threshold=o.threshold, decay=o.decay
    )
    best = jnp.argmax(taught.rewards)
    chosen = jax.tree.map(lambda x: x[best], sets)
    kept = _choose(promoted, chosen, state.kept)
    metrics = _metrics(sets, taught.rewards, promoted, found)
    metrics["teacher/hard_success"] = make_measure(setup, hard)(None, student)
    return State(teacher, promotion, kept, state.key, state.step + 1), metrics

  return step


def step_keys(state: State) -> dict[str, Key[Array, ""]]:
  """Keys of the step that is about to be taken, by what they draw."""
  key = jax.random.fold_in(state.key, state.step)
  return random.split_named(key, "write", "teach", "update")


def _metrics(sets, rewards, promoted, found) -> dict[str, Array]:
  """Counts are added over the steps of a row, all else is averaged."""
  mean = lambda x: jnp.mean(x.astype(jnp.float32))
  rows = {
      "gain": jnp.mean(rewards),
      "best_gain": jnp.max(rewards),
      "promoted": promoted.astype(jnp.int32),
      "parsed": mean(sets.parsed),
      "unparsable": jnp.sum(~sets.parsed, dtype=jnp.int32),
      "leaked": mean(sets.parsed & ~sets.valid),
      **found,
  }
  return {f"teacher/{name}": x for name, x in rows.items()}


def make_program(setup: Setup, form: Form, evaluate: Callable) -> Callable:
  """Returns the pure `(states, hard, frozen) -> (states, metrics)`.

  A chunk of outer steps; see `rlvr_programs.make_program`. The accuracy is
  that of the agent that students start from.
  """
  step = rlvr_programs.over_frozen(
      setup, lambda full: make_step(full, form), shared=True
  )

  def program(states, hard, frozen):
    chunk = loop.make_chunk(lambda states, x: step(states, x, frozen))
    states, metrics = chunk(states, hard)
    metrics |= evaluate(states.promotion.student, frozen)
    return states, rlvr_programs.by_arm(metrics, setup.arms)

  return program
