"""One agent of `experiments.rlvr`: observe, correct, credit, update.

Everything is pure and for one seed of one arm; the experiment maps it over
both and compiles it. Axes: B prompts, G samples, T tokens, K kinds of problem.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key, PyTree

from experiments import (
    rlvr_appeals,
    rlvr_curricula,
    rlvr_halves,
    rlvr_policy,
    rlvr_rewards,
    rlvr_stages,
)
from experiments.rlvr_measures import Found
from experiments.rlvr_policy import Setup
from experiments.rlvr_recipes import Scored, Trained
from experiments.tasks import Problems
from rewardjax.advantages import off_policy
from rewardjax.core import random
from rewardjax.core.masking import Mean
from rewardjax.noise import corrections
from rewardjax.recipes import decoupled
from rewardjax.recipes.credit import Credit, group_metrics
from rewardjax.training.state import TrainState, init_state
from rewardjax.training.step import make_train_step
from rewardjax.types import Reward, Rollouts


class Seen(NamedTuple):
  """Verdicts on one batch of rollouts: as observed, and as they should be.

  beside: other rewards `[B, G, M]` that are added; None if there are none.
  """

  observed: Reward
  truth: Reward
  beside: Reward | None = None


class Agent(NamedTuple):
  """All that training changes; what a checkpoint holds."""

  arm: Int[Array, ""]  # which of the setup's arms this is
  train: TrainState
  rates: PyTree  # what the on-line estimate of the noise remembers
  reference: PyTree  # frozen parameters, or None when nothing reads them
  key: Key[Array, ""]
  curriculum: PyTree = ()  # what it remembers of each kind of problem


class Batch(NamedTuple):
  """What one step learns from; every leaf leads with B."""

  problems: Problems
  rollouts: Rollouts
  seen: Seen


class Experience(NamedTuple):
  """What an update reads; every leaf is data and leads with B."""

  rollouts: Rollouts
  credit: Credit
  scored: Scored
  demonstrations: Rollouts | None


def init(setup: Setup, arm, key: Key[Array, ""], params: PyTree) -> Agent:
  """An agent that starts from given parameters; `key` is consumed."""
  config = setup.config
  head_key, key = jax.random.split(key)
  if setup.frozen is not None:
    adapter_key, key = jax.random.split(key)
    params = rlvr_policy.init_adapters(setup, adapter_key)
  reference = params if setup.needs.reference else None
  params = rlvr_policy.add_value_head(setup, head_key, params)
  rates = rlvr_appeals.init(len(config.task.kinds))
  state = init_state(params, optimizer(config))
  curriculum = rlvr_curricula.init(config)
  return Agent(arm, state, rates, reference, key, curriculum)


def optimizer(config) -> optax.GradientTransformation:
  """Clipping by global norm, then AdamW."""
  o = config.optimizer
  return optax.chain(
      optax.clip_by_global_norm(o.max_grad_norm),
      optax.adamw(
          o.learning_rate, b1=o.b1, b2=o.b2, weight_decay=o.weight_decay
      ),
  )


def make_loss_fn(setup: Setup, arm: Int[Array, ""]):
  """Returns `(params, experience, key) -> (loss, metrics)` of an arm."""

  def loss_fn(params, batch: Experience, key):
    del key  # no dropout
    rollouts, mask = batch.rollouts, batch.credit.mask
    trained = Trained(*rlvr_policy.score(setup, params, rollouts))
    if (shown := batch.demonstrations) is not None:
      log_probs = rlvr_policy.score(setup, params, shown).log_probs
      trained = Trained(*trained[:3], log_probs, shown.mask)
    loss, metrics = rlvr_halves.loss_of_arm(
        setup, arm, rollouts, batch.credit, batch.scored, trained
    )
    gap = off_policy.sampler_gap(trained.log_probs, rollouts.log_probs, mask)
    metrics["entropy"] = Mean.of(trained.entropies, mask)
    metrics["sampler_gap"] = gap["sampler_gap"]
    return loss, metrics

  return loss_fn


def observe(setup: Setup, arm, key, truth: Reward, kinds) -> Reward:
  """What the arm's simulated liar says of the samples."""
  make = lambda config: partial(
      rlvr_stages.observe,
      options=config.noise,
      num_kinds=len(config.task.kinds),
  )
  return rlvr_halves.switch(setup, arm, ("noise",), make, key, truth, kinds)


def judge(setup: Setup, arm, key, found: Found, rollouts, kinds):
  """What the arm observes, and the rewards beside it.

  Returns:
    The source's outcome `[B, G]` after the liar, and rewards `[B, G, M]`.
  """
  outcome = rlvr_rewards.outcome(setup.config, key, found, rollouts)
  observed = observe(setup, arm, key, outcome, kinds)
  return observed, rlvr_rewards.beside(setup.config, found, rollouts)


def correct(config, key, state, seen: Seen, kinds):
  """What is learned from instead of the observed verdicts.

  Returns:
    The corrected reward `[B, G]`, the new state of the rate estimate and
    metrics. Only a random share of the truth is read, and only by appeals.
  """
  o, observed, metrics = config.correction, seen.observed, {}
  if o.rates == "appeals":
    observed, table, state, metrics = rlvr_appeals.recheck(
        key, state, observed, seen.truth, kinds, config.appeals
    )
  else:
    source = config.noise if o.rates == "noise" else o
    table = rlvr_stages.rates_by_kind(source, len(config.task.kinds))
  rates = rlvr_stages.of_prompts(table, kinds)
  value = rlvr_stages.CORRECTIONS[o.name](observed.value, rates, o)
  metrics |= corrections.guard_metrics(rates, o.min_youden)
  return Reward(value, observed.valid), state, metrics


def correct_of_arm(setup: Setup, arm, *args):
  """`correct` of the arm that `arm` counts; see there.

  Branches must agree: `rlvr_appeals.METRICS` of an arm without appeals are
  NaN, to be dropped by `rlvr_programs.by_arm`.
  """

  def make_branch(config):
    def branch(*args):
      reward, state, metrics = correct(config, *args)
      metrics = {name: mean.value for name, mean in metrics.items()}
      nan = dict.fromkeys(rlvr_appeals.METRICS, jnp.full((), jnp.nan))
      return reward, state, nan | metrics

    return branch

  fields = ("noise", "correction", "appeals")
  return rlvr_halves.switch(setup, arm, fields, make_branch, *args)


def score_start(setup: Setup, agent: Agent, rollouts, reward) -> Scored:
  """What the arms read of parameters that are not in training."""
  needs, params, scored = setup.needs, agent.train.params, Scored()
  score = lambda *args: rlvr_policy.score(setup, *args)
  if needs.reference:
    found = score(agent.reference, rollouts).log_probs
    scored = scored._replace(reference=found)
  if needs.law:
    law = rlvr_halves.law_of_arm(setup, agent.arm, rollouts, reward)
    scored = scored._replace(by_law=score(params, rollouts, law).log_probs)
  if needs.critic:
    scored = scored._replace(values=score(params, rollouts).values)
  return scored


def verdict_metrics(seen: Seen, corrected: Reward, rollouts: Rollouts) -> dict:
  """What a batch says before anything is learned from it."""
  metrics = group_metrics(seen.observed)
  metrics["true_reward"] = Mean.of(*seen.truth)
  metrics["corrected_reward"] = Mean.of(*corrected)
  metrics["truncated"] = Mean.of(rollouts.truncated.astype(jnp.float32))
  return {name: mean.value for name, mean in metrics.items()}


def make_learn(setup: Setup):
  """Returns the pure `(agent, batch, key) -> (agent, metrics)` of one seed."""
  config = setup.config
  microbatches = dict(
      num_microbatches=config.num_microbatches,
      compute_dtype=config.compute_dtype or None,
  )

  def learn(agent: Agent, batch: Batch, key):
    keys = random.split_named(key, "correct", "update")
    problems, rollouts, seen = batch
    reward, rates, metrics = correct_of_arm(
        setup, agent.arm, keys["correct"], agent.rates, seen, problems.kinds
    )
    metrics |= verdict_metrics(seen, reward, rollouts)
    scored = score_start(setup, agent, rollouts, reward)
    credit = rlvr_halves.credit_of_arm(
        setup, agent.arm, rollouts, reward, seen, scored
    )
    if config.off_policy.correction != "none":
      trainer = rlvr_policy.score(setup, agent.train.params, rollouts)
      rollouts, credit, found = decoupled.decouple(
          rollouts, credit, trainer.log_probs, **config.off_policy
      )
      metrics |= {f"at_start/{k}": mean.value for k, mean in found.items()}
    metrics |= rlvr_rewards.metrics(config, seen)
    metrics |= rlvr_curricula.metrics(config, problems.kinds)
    curriculum = rlvr_curricula.update(
        config, agent.curriculum, seen.observed, problems.kinds
    )
    shown = None
    if setup.needs.demonstrations:
      shown = rlvr_policy.reference_rollouts(problems)
    experience = Experience(rollouts, credit, scored, shown)
    loss_fn = make_loss_fn(setup, agent.arm)
    train_step = make_train_step(loss_fn, optimizer(config), **microbatches)
    # Compiled once, however many updates a batch serves.
    train, updates = jax.lax.scan(
        lambda train, _: train_step(train, experience, keys["update"]),
        agent.train,
        length=config.updates_per_batch,
    )
    update_metrics = {name: values[-1] for name, values in updates.items()}
    agent = agent._replace(train=train, rates=rates, curriculum=curriculum)
    return agent, metrics | update_metrics

  return learn
