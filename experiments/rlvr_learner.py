"""One agent of `experiments.rlvr`: correct, credit, update.

Everything is pure and for one seed of one arm; the experiment maps it over
both and compiles it. Axes: B prompts, G samples, T tokens, K kinds of problem.
"""

from typing import NamedTuple

import jax
import optax
from jaxtyping import Array, Int, Key, PyTree

from experiments import (
    rlvr_appeals,
    rlvr_curricula,
    rlvr_halves,
    rlvr_imitation,
    rlvr_policy,
    rlvr_rewards,
    rlvr_steps,
    rlvr_turns,
    rlvr_verdicts,
)
from experiments.rlvr_policy import Setup
from experiments.rlvr_recipes import Scored, Trained
from experiments.rlvr_verdicts import Seen
from experiments.tasks import Problems
from rewardjax.advantages import off_policy, running
from rewardjax.core import random
from rewardjax.core.masking import Mean
from rewardjax.recipes import decoupled
from rewardjax.recipes.credit import Credit
from rewardjax.training.state import TrainState, init_state
from rewardjax.training.step import make_train_step
from rewardjax.types import Rollouts


class Agent(NamedTuple):
  """All that training changes; what a checkpoint holds."""

  arm: Int[Array, ""]  # which of the setup's arms this is
  train: TrainState
  rates: PyTree  # what the on-line estimate of the noise remembers
  reference: PyTree  # frozen parameters, or None when nothing reads them
  key: Key[Array, ""]
  curriculum: PyTree = ()  # what it remembers of each kind of problem
  steps: PyTree = ()  # the model that scores steps, and its optimiser
  spread: PyTree = ()  # how far rewards of a group were apart so far
  imitation: PyTree = ()  # its weight, where it is learned


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
  steps = ()
  if rlvr_steps.is_on(config):
    steps_key, key = jax.random.split(key)
    steps = rlvr_steps.init(setup, steps_key, params)
  params = rlvr_policy.add_value_head(setup, head_key, params)
  rates = rlvr_appeals.init(len(config.task.kinds))
  state = init_state(params, optimizer(config))
  curriculum = rlvr_curricula.init(config)
  spread, weight = running.init_spread(), rlvr_imitation.init(config, params)
  return Agent(
      arm, state, rates, reference, key, curriculum, steps, spread, weight
  )


def optimizer(config) -> optax.GradientTransformation:
  """Clipping by global norm, then AdamW."""
  o = config.optimizer
  return optax.chain(
      optax.clip_by_global_norm(o.max_grad_norm),
      optax.adamw(
          o.learning_rate, b1=o.b1, b2=o.b2, weight_decay=o.weight_decay
      ),
  )


def make_loss_fn(setup: Setup, arm: Int[Array, ""], weight=None):
  """Returns `(params, experience, key) -> (loss, metrics)` of an arm.

  `weight` is that of the demonstrations where it is learned.
  """

  def loss_fn(params, batch: Experience, key):
    del key  # no dropout
    rollouts, mask = batch.rollouts, batch.credit.mask
    trained = Trained(*rlvr_policy.score(setup, params, rollouts))
    if (shown := batch.demonstrations) is not None:
      log_probs = rlvr_policy.score(setup, params, shown).log_probs
      trained = Trained(*trained[:3], log_probs, shown.mask, weight)
    loss, metrics = rlvr_halves.loss_of_arm(
        setup, arm, rollouts, batch.credit, batch.scored, trained
    )
    gap = off_policy.sampler_gap(trained.log_probs, rollouts.log_probs, mask)
    metrics["entropy"] = Mean.of(trained.entropies, mask)
    metrics["sampler_gap"] = gap["sampler_gap"]
    return loss, metrics

  return loss_fn


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


def update(setup: Setup, agent: Agent, experience: Experience, key):
  """The updates that a batch serves; `key` is consumed.

  Returns:
    The agent with new parameters, and the metrics of the last update.
  """
  config, train, found = setup.config, agent.train, {}
  options = dict(
      num_microbatches=config.num_microbatches,
      compute_dtype=config.compute_dtype or None,
  )
  loss_at = lambda weight: make_loss_fn(setup, agent.arm, weight)
  weight = None
  if rlvr_imitation.is_on(config):
    gradient = lambda weight: rlvr_imitation.gradient(
        loss_at(weight), train.params, experience, key, **options
    )
    leaning = rlvr_imitation.advance(
        config, agent.imitation, optimizer(config), train, gradient,
        experience.rollouts,
    )  # fmt: skip
    agent, weight = agent._replace(imitation=leaning), leaning.weight
    found["imitation_weight"] = weight
  train_step = make_train_step(loss_at(weight), optimizer(config), **options)
  # Compiled once, however many updates a batch serves.
  train, updates = jax.lax.scan(
      lambda train, _: train_step(train, experience, key),
      train,
      length=config.updates_per_batch,
  )
  found |= {name: values[-1] for name, values in updates.items()}
  return agent._replace(train=train), found


def make_learn(setup: Setup):
  """Returns the pure `(agent, batch, key) -> (agent, metrics)` of one seed."""
  config = setup.config

  def learn(agent: Agent, batch: Batch, key):
    keys = random.split_named(key, "correct", "update", "score", "steps")
    problems, rollouts, seen = batch
    reward, rates, metrics = rlvr_verdicts.correct_of_arm(
        setup, agent.arm, keys["correct"], agent.rates, seen, problems.kinds
    )
    metrics |= rlvr_verdicts.metrics(seen, reward, rollouts)
    metrics |= rlvr_verdicts.mass_metrics(config, seen, rollouts)
    scored = score_start(setup, agent, rollouts, reward)
    if setup.world is not None:
      _, gained = rlvr_turns.judge(setup, problems, rollouts)
      scored = scored._replace(gained=gained)
    metrics |= rlvr_turns.metrics(scored.gained)
    read = rlvr_steps.read(setup, agent.train.params, rollouts, reward)
    scored = rlvr_steps.score(
        setup, agent, keys["score"], problems, read, scored
    )
    credit, spread = rlvr_halves.credit_of_arm(
        setup, agent.arm, rollouts, reward, seen, scored, agent.spread
    )
    if config.off_policy.correction != "none":
      trainer = rlvr_policy.score(setup, agent.train.params, rollouts)
      rollouts, credit, found = decoupled.decouple(
          rollouts, credit, trainer.log_probs, **config.off_policy
      )
      metrics |= {f"at_start/{k}": mean.value for k, mean in found.items()}
    metrics |= rlvr_rewards.metrics(config, seen)
    metrics |= rlvr_curricula.metrics(config, problems.kinds)
    metrics |= rlvr_steps.metrics(scored.steps)
    curriculum = rlvr_curricula.update(
        config, agent.curriculum, seen.observed, problems.kinds
    )
    shown = None
    if setup.needs.demonstrations:
      shown = rlvr_policy.reference_rollouts(problems)
    experience = Experience(rollouts, credit, scored, shown)
    agent, found = update(setup, agent, experience, keys["update"])
    metrics |= found
    # After the policy: a model never scores samples that it has learned from.
    steps, found = rlvr_steps.learn(setup, agent.steps, keys["steps"], read)
    agent = agent._replace(
        rates=rates, curriculum=curriculum, steps=steps, spread=spread
    )
    return agent, metrics | found

  return learn
