"""Supervised training on reference answers: the policy before reinforcement."""

import jax
import optax

from experiments import rlvr_policy
from experiments.rlvr_policy import Setup
from rewardjax.core import reduction
from rewardjax.training.state import TrainState, init_state
from rewardjax.training.step import make_train_step


def optimizer(config) -> optax.GradientTransformation:
  """Adam, its rate falling to a tenth along a cosine."""
  o = config.warm_up
  num_steps = max(1, o.num_steps)  # the schedule of no step at all
  schedule = optax.cosine_decay_schedule(o.learning_rate, num_steps, 0.1)
  return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))


def init(setup: Setup, key) -> TrainState:
  """A fresh policy; `key` is consumed."""
  params = rlvr_policy.init_policy(setup, key)
  return init_state(params, optimizer(setup.config))


def make_step(setup: Setup):
  """Returns the pure `(state, problems) -> (state, metrics)` of one seed."""

  def loss_fn(params, problems, key):
    del key  # no dropout
    answers = rlvr_policy.reference_rollouts(problems)
    scores = rlvr_policy.score(setup, params, answers)
    return reduction.token_mean(-scores.log_probs, answers.mask), {}

  step = make_train_step(loss_fn, optimizer(setup.config))
  return lambda state, problems: step(state, problems, jax.random.key(0))
