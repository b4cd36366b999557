"""Each recipe with options that exercise all of it, and its credit half."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp

from rewardjax.advantages import group
from rewardjax.recipes import credit
from rewardjax.recipes import policy_gradient as recipes
from tests.recipes import batches


class Case(NamedTuple):
  """A recipe, the options of its loss half, and its credit half.

  `half(rollouts, reward, **what)` makes the Credit; `what` names the arrays
  of the batch that either half takes, by keyword.
  """

  recipe: Callable
  half: Callable
  loss: dict = {}
  credit: dict = {}
  loss_arrays: dict = {}
  credit_arrays: dict = {}


def _gae_half(rollouts, reward, *, behavior_values, **options):
  return credit.gae_credit(rollouts, reward, behavior_values, **options)


REFERENCE = {"reference_log_probs": "reference"}
CASES = {
    "reinforce": Case(
        recipes.reinforce,
        credit.return_credit,
        credit=dict(kl_coefficient=0.1, discount=0.9, baseline=0.3),
        credit_arrays=REFERENCE,
        loss_arrays=REFERENCE,
    ),
    "reinforce_pp": Case(
        recipes.reinforce_pp,
        partial(credit.return_credit, whiten=True),
        credit=dict(kl_coefficient=0.1),
        credit_arrays=REFERENCE,
        loss_arrays=REFERENCE,
    ),
    "reinforce_pp_baseline": Case(
        recipes.reinforce_pp_baseline,
        partial(credit.group_credit, estimator=group.centered, whiten=True),
        loss=dict(kl_coefficient=0.05, kl_estimator="k3"),
        loss_arrays=REFERENCE,
    ),
    "rloo": Case(
        recipes.rloo,
        partial(credit.group_credit, estimator=group.leave_one_out),
        credit=dict(kl_coefficient=0.1),
        credit_arrays=REFERENCE,
        loss_arrays=REFERENCE,
    ),
    "grpo": Case(
        recipes.grpo,
        credit.group_credit,
        loss=dict(kl_coefficient=0.04, kl_estimator="k3"),
        loss_arrays=REFERENCE,
    ),
    "dr_grpo": Case(
        recipes.dr_grpo,
        partial(credit.group_credit, estimator=group.centered),
        loss=dict(length=6),
    ),
    "dapo": Case(
        recipes.dapo,
        partial(credit.dapo_credit, max_length=5, buffer=2),
        loss=dict(max_length=5, buffer=2),
    ),
    "gspo": Case(
        recipes.gspo,
        credit.group_credit,
        loss=dict(clip_low=0.1, clip_high=0.15),
    ),
    "cispo": Case(
        recipes.cispo, credit.group_credit, loss=dict(low=0.8, high=1.28)
    ),
    "ppo": Case(
        recipes.ppo,
        _gae_half,
        loss_arrays=REFERENCE | {"values": "values"},
        credit=dict(kl_coefficient=0.1, discount=0.99, decay=0.9),
        credit_arrays=REFERENCE
        | {"behavior_values": "behavior_values", "bootstrap": "bootstrap"},
    ),
}


def _named(batch, arrays):
  return {k: jnp.asarray(getattr(batch, v)) for k, v in arrays.items()}


def _case(name: str | Case) -> Case:
  return name if isinstance(name, Case) else CASES[name]


def whole(name: str | Case, batch: batches.Batch, **changes):
  """`(log_probs, **changes) -> (loss, metrics)` of the recipe in one call."""
  case = _case(name)
  arrays = _named(batch, case.loss_arrays | case.credit_arrays)
  options = case.loss | case.credit | arrays
  rollouts, reward = batches.rollouts(batch), batches.reward(batch)

  def call(log_probs, **changed):
    return case.recipe(
        log_probs, rollouts, reward, **options | changes | changed
    )

  return call


def credit_half(name: str | Case, batch: batches.Batch) -> credit.Credit:
  case = _case(name)
  arrays = _named(batch, case.credit_arrays)
  return case.half(
      batches.rollouts(batch), batches.reward(batch), **case.credit, **arrays
  )


def loss_half(
    name: str | Case, batch: batches.Batch, given: credit.Credit, rows
):
  """`log_probs -> (loss, metrics)` of some samples, their credit given."""
  case = _case(name)
  arrays = batches.take(_named(batch, case.loss_arrays), rows)
  rollouts = batches.take_rollouts(batch, rows)
  part = batches.take(given, rows)
  return lambda log_probs: case.recipe(
      log_probs, rollouts, part, **case.loss, **arrays
  )
