"""One agent of `experiments.rlvr`: observe, correct, credit, update.

Everything is pure and for one seed of one arm; the experiment maps it over
both and compiles it. Axes: B prompts, G samples, T tokens, K kinds of problem.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from experiments import (
    rlvr_appeals,
    rlvr_curricula,
    rlvr_policy,
    rlvr_rewards,
    rlvr_stages,
)
from experiments.rlvr_measures import Found
from experiments.rlvr_policy import Setup
from experiments.tasks import Problems
from rewardjax.advantages import off_policy
from rewardjax.core import random
from rewardjax.core.masking import Mean
from rewardjax.noise import corrections
from rewardjax.objectives import value
from rewardjax.recipes import decoupled
from rewardjax.recipes.credit import Credit, group_metrics
from rewardjax.recipes.losses import policy_loss
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
  reference_log_probs: Float[Array, "B G T"] | None


def init(setup: Setup, arm, key: Key[Array, ""], params: PyTree) -> Agent:
  """An agent that starts from given parameters; `key` is consumed."""
  config = setup.config
  head_key, key = jax.random.split(key)
  if setup.frozen is not None:
    adapter_key, key = jax.random.split(key)
    params = rlvr_policy.init_adapters(setup, adapter_key)
  reference = params if needs_reference(config) else None
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


def needs_reference(config) -> bool:
  """Whether any part of the config pulls towards the first policy."""
  o = config.regularizer
  return bool(o.kl_coefficient or o.kl_in_reward)


def make_loss_fn(setup: Setup):
  """Returns `(params, experience, key) -> (loss, metrics)`."""
  config, o = setup.config, setup.config.regularizer
  surrogate = rlvr_stages.SURROGATES[config.surrogate.name](config.surrogate)
  reduce = rlvr_stages.REDUCERS[config.reducer]

  def loss_fn(params, batch: Experience, key):
    del key  # no dropout
    mask = batch.credit.mask
    scores = rlvr_policy.score(setup, params, batch.rollouts)
    loss, metrics = policy_loss(
        scores.log_probs,
        batch.rollouts,
        batch.credit,
        surrogate,
        reduce,
        reference_log_probs=batch.reference_log_probs,
        kl_coefficient=o.kl_coefficient,
        kl_estimator=o.kl_estimator,
    )
    metrics["entropy"] = Mean.of(scores.entropies, mask)
    sampled = batch.rollouts.log_probs
    gap = off_policy.sampler_gap(scores.log_probs, sampled, mask)
    metrics["sampler_gap"] = gap["sampler_gap"]
    terms = [(-o.entropy_coefficient, scores.entropies)]
    if setup.value_head is not None:
      errors = value.clipped_value_loss(
          scores.values,
          batch.credit.values,
          batch.credit.returns,
          clip=o.value_clip,
      )
      metrics["value_loss"] = Mean.of(errors, mask)
      terms.append((o.value_coefficient, errors))
    for coefficient, values in terms:
      # One reducer and one mask: the weights are equal, so totals add.
      extra = coefficient * reduce(values, mask).total
      loss = Mean(loss.total + extra, loss.weight)
    return loss, metrics

  return loss_fn


def observe(setup: Setup, arm, key, truth: Reward, kinds) -> Reward:
  """What the arm's simulated liar says of the samples."""
  branches = [
      partial(rlvr_stages.observe, options=o.noise, num_kinds=len(o.task.kinds))
      for o in setup.arms.values()
  ]
  return jax.lax.switch(arm, branches, key, truth, kinds)


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


def give_credit(config, key, state, seen, rollouts, kinds, reference, values):
  """One arm's way from verdicts to credit, over the whole batch.

  Returns:
    Credit `[B, G, T]`, the new state of the rate estimate and metrics.
  """
  reward, state, metrics = correct(config, key, state, seen, kinds)
  metrics |= group_metrics(seen.observed)
  metrics["true_reward"] = Mean.of(*seen.truth)
  metrics["corrected_reward"] = Mean.of(*reward)
  reward = rlvr_rewards.total(reward, seen, rollouts, config)
  anchor = dict(
      reference_log_probs=reference,
      kl_coefficient=config.regularizer.kl_in_reward,
  )
  assign = rlvr_stages.CREDITS[config.credit.name]
  credit = assign(rollouts, reward, values, config.credit, anchor)
  spread = jnp.broadcast_to(credit.advantages, credit.mask.shape)
  values = {name: mean.value for name, mean in metrics.items()}
  return credit._replace(advantages=spread), state, values


def credit_of_arm(setup: Setup, arm, *args):
  """`give_credit` of the arm that `arm` counts; see there.

  Branches must agree: `rlvr_appeals.METRICS` of an arm without appeals are
  NaN, to be dropped by `rlvr_programs.by_arm`.
  """

  def make_branch(config):
    def branch(*args):
      credit, state, metrics = give_credit(config, *args)
      nan = dict.fromkeys(rlvr_appeals.METRICS, jnp.full((), jnp.nan))
      return credit, state, nan | metrics

    return branch

  return jax.lax.switch(arm, list(map(make_branch, setup.arms.values())), *args)


def make_learn(setup: Setup):
  """Returns the pure `(agent, batch, key) -> (agent, metrics)` of one seed."""
  config = setup.config
  train_step = make_train_step(
      make_loss_fn(setup),
      optimizer(config),
      num_microbatches=config.num_microbatches,
      compute_dtype=config.compute_dtype or None,
  )

  def learn(agent: Agent, batch: Batch, key):
    keys = random.split_named(key, "correct", "update")
    rollouts, reference, values = batch.rollouts, None, None
    if needs_reference(config):
      scores = rlvr_policy.score(setup, agent.reference, rollouts)
      reference = scores.log_probs
    if setup.value_head is not None:
      values = rlvr_policy.score(setup, agent.train.params, rollouts).values
    credit, rates, metrics = credit_of_arm(
        setup,
        agent.arm,
        keys["correct"],
        agent.rates,
        batch.seen,
        rollouts,
        batch.problems.kinds,
        reference,
        values,
    )
    if config.off_policy.correction != "none":
      trainer = rlvr_policy.score(setup, agent.train.params, rollouts)
      rollouts, credit, found = decoupled.decouple(
          rollouts, credit, trainer.log_probs, **config.off_policy
      )
      metrics |= {f"at_start/{k}": mean.value for k, mean in found.items()}
    kinds = batch.problems.kinds
    metrics |= rlvr_rewards.metrics(config, batch.seen)
    metrics |= rlvr_curricula.metrics(config, kinds)
    curriculum = rlvr_curricula.update(
        config, agent.curriculum, batch.seen.observed, kinds
    )
    experience = Experience(rollouts, credit, reference)
    metrics["truncated"] = jnp.mean(rollouts.truncated.astype(jnp.float32))
    train = agent.train
    for _ in range(config.updates_per_batch):
      train, update_metrics = train_step(train, experience, keys["update"])
    agent = agent._replace(train=train, rates=rates, curriculum=curriculum)
    return agent, metrics | update_metrics

  return learn
