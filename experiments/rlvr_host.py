"""Chunks of steps with verifiers that read text on the host.

The counterpart of `rlvr_programs.make_program`: sampling and learning are two
compiled programs, and the verifiers run between them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments import (
  rlvr_learner,
  rlvr_policy,
  rlvr_programs,
  verifying,
)
from experiments.rlvr_learner import Batch, Seen
from experiments.rlvr_policy import Setup
from rewardjax.advantages import dynamic_sampling
from rewardjax.core import random
from rewardjax.training import loop


def _keys(agent):
  key = jax.random.fold_in(agent.key, agent.train.step)
  return random.split_named(key, "collect", "learn")


def make_sample(setup: Setup) -> Callable:
  """Returns `(agent, (attempt, problems)) -> rollouts and their verdicts`."""

  def sample(agent, attempted):
    attempt, problems = attempted
    key = jax.random.fold_in(_keys(agent)["collect"], attempt)
    sample_key, noise_key = jax.random.split(key)
    params = agent.train.params
    rollouts = rlvr_policy.sample(setup, sample_key, params, problems)
    on_tokens = verifying.match_tokens(problems, rollouts, setup.stop_tokens)
    return problems, rollouts, on_tokens, noise_key

  return sample


def make_observe(setup: Setup) -> Callable:
  """Returns `(agent, (key, reward, kinds)) -> what the liar says`."""
  return lambda agent, x: rlvr_learner.observe(setup, agent.arm, *x)


def make_learn(setup: Setup) -> Callable:
  """Returns `(agent, batch) -> (agent, metrics)`."""
  learn = rlvr_learner.make_learn(setup)
  return lambda agent, batch: learn(agent, batch, _keys(agent)["learn"])


class HostProgram:
  """`(agents, problems) -> (agents, metrics)`; see `make_program`."""

  def __init__(
      self, setup: Setup, verifiers: dict[str, Callable], evaluate: Callable
  ):
    """`verifiers` map (problems, rollouts) to `HostVerdicts`, by name."""
    config = setup.config
    self._evaluate, self._arms = evaluate, setup.arms
    self._options, self._verifiers = config.verifier, verifiers
    self._attempts = config.sampling.max_refills + 1

    self._frozen, self._warm = setup.frozen, False

    def over_all(function, *, shared=False, donate=()):
      """Compiles `function(setup)`; what is frozen is an argument of it."""

      def program(frozen, agents, x):
        one = function(setup._replace(frozen=frozen))
        each = rlvr_programs.over_agents(setup, one, shared=shared)
        return each(agents, x)

      compiled = jax.jit(program, donate_argnums=donate)
      return lambda agents, x: compiled(self._frozen, agents, x)

    self._sample = over_all(make_sample, shared=True)
    self._observe = over_all(make_observe)
    self._learn = over_all(make_learn, donate=1)
    every = lambda f: jax.jit(jax.vmap(jax.vmap(f)))
    self._informative = every(rlvr_programs.informative)
    self._fill = every(dynamic_sampling.fill_groups)
    self._drop_dead = every(rlvr_programs.drop_dead)

  def __call__(self, agents, problems):
    """One chunk of steps; see `make_program`."""
    metrics = []
    for i in range(problems.kinds.shape[0]):
      at_step = jax.tree.map(lambda x: x[i], problems)  # noqa: B023
      batch, statuses = self._collect(agents, at_step)
      agents, values = self._learn(agents, batch)
      metrics.append(values | statuses)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *metrics)
    self._warm = True
    values = loop.reduce_chunk(stacked)
    values |= self._evaluate(agents.train.params)
    return agents, rlvr_programs.by_arm(values, self._arms)

  def _collect(self, agents, problems):
    """One batch, its dead groups refilled as far as the attempts reach."""
    split = lambda x: x.reshape(
        x.shape[0], self._attempts, -1, *x.shape[2:]
    )
    attempts = jax.tree.map(split, problems)
    draw = lambda i: self._draw(
        agents, i, jax.tree.map(lambda x: x[:, i], attempts)
    )
    batch, statuses = draw(0)
    if self._attempts == 1:
      return batch, statuses
    live = self._informative(batch)
    for i in range(1, self._attempts):
      # Everything compiles in the first chunk, needed or not.
      if self._warm and np.all(jax.device_get(live)):
        break
      fresh, _ = draw(i)
      filled = self._fill(batch, live, fresh, self._informative(fresh))
      batch, live = filled.groups, filled.live
    return self._drop_dead(batch, live), statuses

  def _draw(self, agents, attempt, problems):
    number = jnp.full(problems.kinds.shape[0], attempt)
    problems, rollouts, on_tokens, keys = self._sample(
        agents, (number, problems)
    )
    found = {"tokens": verifying.HostVerdicts(on_tokens, {})}
    for name, verifier in self._verifiers.items():
      found[name] = verifier(problems, rollouts)
    judged = found[self._options.name]
    observed = self._observe(agents, (keys, judged.reward, problems.kinds))
    truth = found[self._options.trusted].reward
    return Batch(problems, rollouts, Seen(observed, truth)), judged.metrics


def make_evaluate(setup: Setup, held_out, trusted: Callable) -> Callable:
  """`rlvr_programs.make_evaluate` by sampling: what the trusted verifier says.

  Every call draws with the same key, so that curves are comparable.
  """
  names = tuple(setup.config.task.kinds)
  problems = jax.tree.map(jnp.asarray, held_out)
  keys = jnp.broadcast_to(jax.random.key(0), (setup.config.num_seeds,))

  @jax.jit
  def sample(frozen, params):
    full = setup._replace(frozen=frozen)
    one = lambda params, key: rlvr_policy.answer(full, key, params, problems)
    return rlvr_programs.over_agents(setup, one, shared=True)(params, keys)

  def evaluate(params):
    rollouts = sample(setup.frozen, params)
    leading = rollouts.truncated.shape[:2]
    repeat = lambda x: np.broadcast_to(x, leading + x.shape)
    value, valid = trusted(jax.tree.map(repeat, held_out), rollouts).reward
    kinds = np.broadcast_to(held_out.kinds[:, None], valid.shape[2:])
    flat = lambda x: x.reshape(*x.shape[:2], -1)
    return rlvr_programs.by_kind(
        flat(value), flat(valid), kinds.ravel(), names
    )

  return evaluate
