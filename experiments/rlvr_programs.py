"""The programs of `experiments.rlvr`, over A arms and S seeds at once.

With a token verifier a whole chunk of steps is one program: sample, verify,
lie, correct, credit, update, `log_every` times. `rlvr_host` cuts it in two
around a verifier that reads text.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections as mlc
from jaxtyping import Array, Bool, Key

from experiments import (
    rlvr_appeals,
    rlvr_curricula,
    rlvr_halves,
    rlvr_learner,
    rlvr_measures,
    rlvr_sampling,
    rlvr_turns,
    rlvr_verdicts,
)
from experiments.rlvr_learner import Agent, Batch
from experiments.rlvr_policy import Setup
from experiments.rlvr_verdicts import Seen
from experiments.tasks import Problems
from rewardjax.advantages import dynamic_sampling, group
from rewardjax.core import mapping, random
from rewardjax.training import loop
from rewardjax.training import mesh as meshes
from rewardjax.types import Reward


def draw(setup: Setup, key, agent: Agent, problems: Problems):
  """Chooses problems, samples, and measures on tokens; `key` is consumed.

  Returns:
    The problems, the rollouts, `rlvr_measures.Found` with the verdicts of the
    token verifier, and a key for the liar.
  """
  if rlvr_curricula.is_on(setup.config):
    pick_key, key = jax.random.split(key)
    step = agent.train.step // setup.config.updates_per_batch
    problems = rlvr_curricula.pick(
        setup.config, pick_key, agent.curriculum, step, problems
    )
  sample_key, noise_key = jax.random.split(key)
  params = agent.train.params
  rollouts = rlvr_sampling.sample(setup, sample_key, params, problems)
  verdict, _ = rlvr_turns.judge(setup, problems, rollouts)
  found = rlvr_measures.measure(setup, params, problems, rollouts, verdict)
  return problems, rollouts, found, noise_key


def collect(
    setup: Setup, key: Key[Array, ""], agent: Agent, problems: Problems
) -> Batch:
  """Samples, verifies on tokens and lies; pure."""
  problems, rollouts, found, noise_key = draw(setup, key, agent, problems)
  observed, beside = rlvr_verdicts.judge(
      setup, agent.arm, noise_key, found, rollouts, problems.kinds
  )
  return Batch(problems, rollouts, Seen(observed, found.verdict, beside))


def informative(batch: Batch) -> Bool[Array, " B"]:
  """Groups whose observed outcomes differ: all that the learner can know."""
  return group.informative(*batch.seen.observed)


def drop_dead(batch: Batch, live: Bool[Array, " B"]) -> Batch:
  """Marks what is not live as invalid, so that it dilutes nothing."""

  def drop(reward):
    rows = live.reshape((-1,) + (1,) * (reward.valid.ndim - 1))
    return reward._replace(valid=reward.valid & rows)

  is_reward = lambda x: isinstance(x, Reward)
  seen = jax.tree.map(drop, batch.seen, is_leaf=is_reward)
  return batch._replace(seen=seen)


def collect_informative(
    setup: Setup, key, agent: Agent, problems: Problems
) -> Batch:
  """Replaces dead groups by fresh ones, `max_refills` times at most.

  `problems` holds one batch per attempt, one after another. What is still
  dead in the end is marked invalid.
  """
  attempts = setup.config.sampling.max_refills + 1
  split = lambda x: x.reshape(attempts, -1, *x.shape[1:])
  batches = jax.tree.map(split, problems)
  attempt_at = lambda i: collect(
      setup,
      jax.random.fold_in(key, i),
      agent,
      jax.tree.map(lambda x: x[i], batches),
  )

  def dead_groups(carry):
    _, live, attempt = carry
    return ~jnp.all(live) & (attempt < attempts)

  def refill(carry):
    batch, live, attempt = carry
    fresh = attempt_at(attempt)
    filled = dynamic_sampling.fill_groups(
        batch, live, fresh, informative(fresh)
    )
    return filled.groups, filled.live, attempt + 1

  first = attempt_at(0)
  batch, live, _ = jax.lax.while_loop(
      dead_groups, refill, (first, informative(first), 1)
  )
  return drop_dead(batch, live)


def make_gather(setup: Setup) -> Callable[..., Batch]:
  """Returns the pure `(agent, problems) -> batch` of one seed.

  Draws are chosen by the key of the agent and the number of its step.
  """
  gather = collect_informative if setup.config.sampling.max_refills else collect

  return lambda agent, problems: gather(
      setup, step_keys(agent)["collect"], agent, problems
  )


def step_keys(agent: Agent) -> dict[str, Key[Array, ""]]:
  """Keys of the step that the agent is about to take, by what they draw."""
  key = jax.random.fold_in(agent.key, agent.train.step)
  return random.split_named(key, "collect", "learn")


def make_learn(setup: Setup) -> Callable[..., tuple[Agent, dict]]:
  """Returns the pure `(agent, batch) -> (agent, metrics)` of one seed."""
  learn = rlvr_learner.make_learn(setup)
  return lambda agent, batch: learn(agent, batch, step_keys(agent)["learn"])


def make_step(setup: Setup) -> Callable[..., tuple[Agent, dict]]:
  """Returns the pure `(agent, problems) -> (agent, metrics)` of one seed."""
  gather, learn = make_gather(setup), make_learn(setup)
  return lambda agent, problems: learn(agent, gather(agent, problems))


def over_agents(setup: Setup, function: Callable, *, shared: bool) -> Callable:
  """Maps `function(agent, x)` over arms and seeds.

  `x` has one member per seed, which the arms share, or one per agent.
  `config.agents` says how: "vmap" computes all of them together, "scan" one
  after the other, in the memory of one.
  """
  if setup.config.agents == "vmap":
    return lambda agents, x: _at_once(function, agents, x, shared)
  over_seeds = lambda agent, x: jax.lax.map(lambda y: function(*y), (agent, x))
  if shared:
    return lambda agent, x: jax.lax.map(lambda a: over_seeds(a, x), agent)
  return lambda agent, x: jax.lax.map(lambda y: over_seeds(*y), (agent, x))


def _at_once(function, agents, x, shared):
  """One vmap over all agents: two of them would batch every loop twice."""
  first = jax.tree.leaves(agents)[0].shape[:2]
  if shared:
    x = jax.tree.map(
        lambda y: jnp.broadcast_to(y, (first[0], *y.shape)), x
    )
  flat = lambda y: y.reshape(-1, *y.shape[2:])
  found = mapping.over_members(function, (0, 0))(
      *jax.tree.map(flat, (agents, x))
  )
  return jax.tree.map(lambda y: y.reshape(*first, *y.shape[1:]), found)


def by_arm(metrics: dict, arms: dict[str, mlc.FrozenConfigDict]) -> dict:
  """From `{metric: [A, S]}` to `{arm/metric: [S]}`, of those it has."""
  names = rlvr_halves.metric_names
  of_losses = frozenset().union(*map(names, arms.values()))

  def has(config, name):
    if name in rlvr_appeals.METRICS:
      return config.correction.rates == "appeals"
    return name not in of_losses or name in names(config)

  return {
      f"{arm}/{name}": values[i]
      for i, (arm, config) in enumerate(arms.items())
      for name, values in metrics.items()
      if has(config, name)
  }


def over_frozen(setup: Setup, make: Callable, *, shared=False) -> Callable:
  """`make(setup)` over all agents, as the pure `(agents, x, frozen) -> ...`.

  Frozen parameters come in as an argument: a program that closed over them
  would hold them as constants of its own.
  """

  def program(agents, x, frozen):
    full = setup._replace(frozen=frozen)
    return over_agents(full, make(full), shared=shared)(agents, x)

  return program


def compile_over(
    setup: Setup, mesh: jax.sharding.Mesh, make: Callable, *, shared=False
) -> Callable:
  """`over_frozen`, compiled for a mesh: `(agents, x) -> ...`."""
  program = over_frozen(setup, make, shared=shared)
  compiled = jax.jit(meshes.within(mesh, program))
  return lambda agents, x: compiled(agents, x, setup.frozen)


def compile_learn(setup: Setup, agents: Agent) -> Callable:
  """Compiles `(agents, batches) -> (agents, metrics)`, which donates."""
  program = over_frozen(setup, make_learn)
  return loop.compile_chunk(program, agents, setup.frozen)


def make_program(setup: Setup, evaluate: Callable) -> Callable:
  """Returns the pure `(agents, problems, frozen) -> (agents, metrics)`.

  It takes a chunk of steps. Agents lead with `[A, S]`; problems are
  `[steps, S, B, ...]`. Metrics are `[S]`, averaged over the steps; those of
  `evaluate(agents, frozen)` are of the last one.
  """
  step = over_frozen(setup, make_step, shared=True)

  def program(agents, problems, frozen):
    chunk = loop.make_chunk(lambda agents, x: step(agents, x, frozen))
    agents, metrics = chunk(agents, problems)
    metrics |= evaluate(agents, frozen)
    return agents, by_arm(metrics, setup.arms)

  return program
