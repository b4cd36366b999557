"""Chunks of steps with verifiers that read text on the host.

The counterpart of `rlvr_programs.make_program`: sampling and learning are two
compiled programs, and the verifiers run between them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments import (
    rlvr_evaluation,
    rlvr_measures,
    rlvr_programs,
    rlvr_sampling,
    rlvr_verdicts,
    verifying,
)
from experiments.rlvr_learner import Batch
from experiments.rlvr_policy import Setup
from experiments.rlvr_verdicts import Seen
from rewardjax.advantages import dynamic_sampling
from rewardjax.training import loop
from rewardjax.training import mesh as meshes


def make_sample(setup: Setup) -> Callable:
  """Returns `(agent, (attempt, problems)) -> rlvr_programs.draw(...)`."""

  def sample(agent, attempted):
    attempt, problems = attempted
    key = rlvr_programs.step_keys(agent)["collect"]
    key = jax.random.fold_in(key, attempt)
    return rlvr_programs.draw(setup, key, agent, problems)

  return sample


def make_observe(setup: Setup) -> Callable:
  """Returns `(agent, (key, found, ...)) -> rlvr_verdicts.judge(...)`."""
  return lambda agent, x: rlvr_verdicts.judge(setup, agent.arm, *x)


class Collector:
  """`(agents, problems) -> (batch, shares of verdicts)`, one step's."""

  def __init__(
      self,
      setup: Setup,
      mesh: jax.sharding.Mesh,
      verifiers: dict[str, Callable],
      read_numbers: Callable,
  ):
    """`verifiers` map (problems, rollouts) to `HostVerdicts`, by name.

    `read_numbers` maps rollouts to ids of their answers.
    """
    config = setup.config
    wanted = sorted(verifying.text_verifiers(config))
    self._verifiers = {name: verifiers[name] for name in wanted}
    self._config, self._read_numbers = config, read_numbers
    self._attempts, self._warm = config.sampling.max_refills + 1, False
    over = lambda make, **options: rlvr_programs.compile_over(
        setup, mesh, make, **options
    )
    self._sample = over(make_sample, shared=True)
    self._observe = over(make_observe)
    every = lambda f: jax.jit(jax.vmap(jax.vmap(f)))
    self._informative = every(rlvr_programs.informative)
    self._fill = every(dynamic_sampling.fill_groups)
    self._drop_dead = every(rlvr_programs.drop_dead)
    # Of a share of the rows: it must lie on all devices again.
    self._share = jax.jit(
        self._share_of, out_shardings=meshes.batch_sharding(mesh, leading=1)
    )
    self._rows = meshes.batch_sharding(mesh, leading=2)

  def __call__(self, agents, problems) -> tuple[Batch, dict]:
    """Dead groups are refilled as far as the attempts reach."""
    batch, statuses = self._draw(agents, problems, 0)
    if self._attempts > 1:
      batch = self._refill(agents, problems, batch)
    self._warm = True
    return batch, statuses

  def _refill(self, agents, problems, batch):
    live = self._informative(batch)
    for i in range(1, self._attempts):
      # Everything compiles in the first step, needed or not.
      if self._warm and np.all(jax.device_get(live)):
        break
      fresh, _ = self._draw(agents, problems, i)
      filled = self._fill(batch, live, fresh, self._informative(fresh))
      batch, live = filled.groups, filled.live
    return self._drop_dead(batch, live)

  def _share_of(self, problems, attempt):
    """The rows of one attempt, of problems `[S, attempts * B, ...]`."""

    def share(x):
      split = x.reshape(x.shape[0], self._attempts, -1, *x.shape[2:])
      return jax.lax.dynamic_index_in_dim(split, attempt, 1, keepdims=False)

    return jax.tree.map(share, problems)

  def _draw(self, agents, problems, attempt):
    problems = self._share(problems, attempt)
    number = np.full(problems.kinds.shape[0], attempt)
    problems, rollouts, found, keys = self._sample(agents, (number, problems))
    judged = {"tokens": verifying.HostVerdicts(found.verdict, {})}
    for name, verifier in self._verifiers.items():
      judged[name] = verifier(problems, rollouts)
    mine = judged[self._config.verifier.name]
    truth = judged[self._config.verifier.trusted].reward
    found = found._replace(verdict=mine.reward)
    if "form" in rlvr_measures.beside_names(self._config):
      found = found._replace(form=judged["form"].reward)
    if "reward.votes" in rlvr_measures.reads_text(self._config):
      found = found._replace(votes=self._read_numbers(rollouts))
    found, truth = jax.device_put((found, truth), self._rows)
    observed, beside = self._observe(
        agents, (keys, found, rollouts, problems.kinds)
    )
    batch = Batch(problems, rollouts, Seen(observed, truth, beside))
    return batch, mine.metrics


class HostProgram:
  """`(agents, problems) -> (agents, metrics)`; see `make_program`."""

  def __init__(
      self, setup: Setup, collect: Callable, learn: Callable, evaluate: Callable
  ):
    """See `Collector`, `rlvr_programs.compile_learn` and `make_evaluate`."""
    self._setup, self._evaluate = setup, evaluate
    self._collect, self._learn = collect, learn

  def __call__(self, agents, problems):
    """One chunk of steps; see `make_program`."""
    rows = []
    for i in range(problems.kinds.shape[0]):
      at_step = jax.tree.map(lambda x: x[i], problems)  # noqa: B023
      batch, statuses = self._collect(agents, at_step)
      agents, metrics = self._learn(agents, batch)
      rows.append(metrics | statuses)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *rows)
    values = loop.reduce_chunk(stacked)
    values |= self._evaluate(agents, self._setup.frozen)
    return agents, rlvr_programs.by_arm(values, self._setup.arms)


def make_evaluate(
    setup: Setup, mesh: jax.sharding.Mesh, held_out, trusted: Callable
) -> Callable:
  """`rlvr_evaluation.make_evaluate` by sampling, as a text verifier says.

  Every call draws with the same key, so that curves are comparable.
  """
  problems = jax.tree.map(jnp.asarray, held_out)

  def make(setup):
    key = jax.random.key(0)
    params = lambda agent: agent.train.params
    return lambda agent, _: rlvr_sampling.answer(
        setup, key, params(agent), problems
    )

  sample = rlvr_programs.over_frozen(setup, make, shared=True)
  sample = jax.jit(meshes.within(mesh, sample))

  def evaluate(agents, frozen):
    rollouts = sample(agents, None, frozen)
    leading = rollouts.truncated.shape[:2]
    repeat = lambda x: np.broadcast_to(x, leading + x.shape)
    reward = trusted(jax.tree.map(repeat, held_out), rollouts).reward
    return rlvr_evaluation.by_sample(
        jax.tree.map(jnp.asarray, reward), problems.kinds, setup.config
    )

  return evaluate
