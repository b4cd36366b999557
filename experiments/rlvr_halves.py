"""Both halves of an update, of all arms that share a program.

The half before the loss corrects verdicts and gives credit, over the whole
batch; the other one is the loss of any microbatch. Between the same forward
pass and the same optimiser they are cheap, so arms that differ in them only
are branches of one program. Axes: B prompts, G samples, T tokens.
"""

import functools
import json
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from experiments import (
    rlvr_recipe_calls,
    rlvr_recipes,
    rlvr_rewards,
    rlvr_stages,
    rlvr_turns,
)
from experiments.rlvr_policy import Setup
from experiments.rlvr_recipes import Scored, StepScores, Trained
from rewardjax.advantages import running
from rewardjax.core.masking import Mean
from rewardjax.policies.laws import SamplingLaw
from rewardjax.recipes.credit import Credit
from rewardjax.training.logging import jsonable
from rewardjax.types import Reward, Rollouts

# What either half may read of an arm's config.
CREDIT = ("credit", "shaping", "beside", "regularizer", "recipe")
LOSS = ("surrogate", "reducer", "regularizer", "recipe")


def switch(
    setup: Setup,
    arm: Int[Array, ""],
    fields: tuple[str, ...],
    make_branch: Callable,
    *args,
):
  """`make_branch(config)(*args)` of the arm that `arm` counts.

  Arms whose `fields` are equal share a branch.
  """
  branches, places = {}, []
  for config in setup.arms.values():
    read = {field: config[field] for field in fields}
    read = {k: getattr(v, "to_dict", lambda v=v: v)() for k, v in read.items()}
    key = json.dumps(jsonable(read), sort_keys=True)
    branches.setdefault(key, make_branch(config))
    places.append(list(branches).index(key))
  if len(branches) == 1:
    return next(iter(branches.values()))(*args)
  return jax.lax.switch(
      jnp.asarray(places)[arm], list(branches.values()), *args
  )


def law_of_arm(setup: Setup, arm, rollouts: Rollouts, reward: Reward):
  """The law that the samples are scored by a second time."""

  def make_branch(config):
    def branch(rollouts, reward):
      law = rlvr_recipe_calls.law(config, rollouts, reward, setup.law)
      return jnp.asarray(law.temperature, float), jnp.asarray(law.min_p, float)

    return branch

  found = switch(setup, arm, ("recipe",), make_branch, rollouts, reward)
  return SamplingLaw(found[0], setup.law.top_k, setup.law.top_p, found[1])


def credit_of_arm(
    setup: Setup,
    arm,
    rollouts: Rollouts,
    reward: Reward,
    seen,
    scored: Scored,
    spread: running.Spread,
) -> tuple[Credit, running.Spread]:
  """Credit `[B, G, T]` from corrected rewards, by stages or by a recipe.

  `seen` is `rlvr_verdicts.Seen`: what was observed, and rewards beside it.
  `spread` is how far rewards of a group were apart in earlier batches; it is
  returned with this one.
  """

  def make_branch(config):
    named = rlvr_recipes.of(config) is not None
    assign = (rlvr_recipe_calls if named else rlvr_stages).credit

    def branch(rollouts, reward, seen, scored, spread):
      paid = rlvr_turns.paid(config, seen, scored.gained)
      shaped = rlvr_rewards.total(reward, seen, rollouts, config, paid)
      early = rlvr_turns.early(paid, rollouts)
      credit = assign(config, rollouts, shaped, scored, early)
      wide, spread = rlvr_rewards.wide_groups(config, spread, shaped)
      credit = credit._replace(mask=credit.mask & wide[..., None, None])
      mask, marked = credit.mask, credit.marked
      everywhere = jnp.broadcast_to(credit.advantages, mask.shape)
      # Branches must agree in what they return.
      marked = jnp.zeros_like(mask) if marked is None else marked
      return credit._replace(advantages=everywhere, marked=marked), spread

    return branch

  args = (rollouts, reward, seen, scored, spread)
  return switch(setup, arm, CREDIT, make_branch, *args)


def _loss(config, *args):
  named = rlvr_recipes.of(config) is not None
  return (rlvr_recipe_calls if named else rlvr_stages).loss(config, *args)


def loss_of_arm(
    setup: Setup,
    arm,
    rollouts: Rollouts,
    credit: Credit,
    scored: Scored,
    trained: Trained,
) -> tuple[Mean, dict[str, Mean]]:
  """The loss, and the metrics of all arms: NaN those of others."""
  names = frozenset().union(*map(metric_names, setup.arms.values()))

  def make_branch(config):
    def branch(*args):
      loss, metrics = _loss(config, *args)
      missing = dict.fromkeys(sorted(names), Mean.of(jnp.full(1, jnp.nan)))
      return loss, missing | metrics

    return branch

  args = (rollouts, credit, scored, trained)
  return switch(setup, arm, LOSS, make_branch, *args)


@functools.cache
def metric_names(config) -> frozenset[str]:
  """What the loss of an arm reports."""
  values, flags = jnp.zeros((1, 2, 2)), jnp.ones((1, 2, 2), bool)
  prompts, mask = jnp.zeros((1, 1), int), jnp.ones((1, 1), bool)
  rollouts = Rollouts(
      prompts, mask, jnp.zeros((1, 2, 2), int), flags, values, flags[..., 0]
  )
  needs = rlvr_recipe_calls.needs(config)
  scored = Scored(*(values if needed else None for needed in needs[1:3]))
  if config.steps.scorer != "none":
    steps = StepScores(values, values, rollouts.tokens, flags)
    scored = scored._replace(steps=steps)
  critic = (values, values) if needs.critic else (None, None)
  credit = Credit(values, flags, *critic, flags)
  trained = Trained(values, values, values, values[:, :1], flags[:, :1])
  args = (rollouts, credit, scored, trained)
  found = jax.eval_shape(functools.partial(_loss, config), *args)
  return frozenset(found[1])
