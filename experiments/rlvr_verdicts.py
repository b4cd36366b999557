"""What an arm of `experiments.rlvr` observes of its samples, and learns from.

Axes: B prompts, G samples, M rewards beside the source, K kinds of problem.
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp

from experiments import (
    rlvr_appeals,
    rlvr_halves,
    rlvr_rewards,
    rlvr_stages,
)
from experiments.rlvr_measures import Found
from experiments.rlvr_policy import Setup
from rewardjax.core import masking
from rewardjax.core.masking import Mean
from rewardjax.diagnostics import mass_balance
from rewardjax.noise import corrections
from rewardjax.recipes.credit import group_metrics
from rewardjax.rewards import marks
from rewardjax.types import Reward, Rollouts


class Seen(NamedTuple):
  """Verdicts on one batch of rollouts: as observed, and as they should be.

  beside: other rewards `[B, G, M]` that are added; None if there are none.
  """

  observed: Reward
  truth: Reward
  beside: Reward | None = None


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


def metrics(seen: Seen, corrected: Reward, rollouts: Rollouts) -> dict:
  """What a batch says before anything is learned from it."""
  metrics = group_metrics(seen.observed)
  metrics["true_reward"] = Mean.of(*seen.truth)
  metrics["corrected_reward"] = Mean.of(*corrected)
  metrics["truncated"] = Mean.of(rollouts.truncated.astype(jnp.float32))
  return {name: mean.value for name, mean in metrics.items()}


def mass_metrics(config, seen: Seen, rollouts: Rollouts) -> dict:
  """Where a step on these samples would move the mass of right ones (BroRL).

  Per unit of learning rate, for rewards of 1 and -1; `mass/losing` is the
  share of prompts whose mass of right samples would shrink.
  """
  if not config.sampling.mass_balance:
    return {}
  value, valid = seen.truth
  balance = mass_balance.sampled_mass_balance(
      masking.masked_sum(rollouts.log_probs, rollouts.mask, -1),
      masking.fill_masked(value, valid) > 0.5,
      marks.answer_ids(rollouts.tokens, rollouts.mask),
      valid,
      learning_rate=1.0,
  )
  parts = {**balance._asdict(), "losing": (balance.total < 0).astype(float)}
  known = jnp.any(valid, axis=-1)
  return {f"mass/{k}": Mean.of(x, known).value for k, x in parts.items()}
