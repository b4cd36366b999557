"""Accuracy of the agents of `experiments.rlvr` on held-out problems.

On tokens, inside a program; `rlvr_host.make_evaluate` is for verifiers that
read text.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments import (
    rlvr_policy,
    rlvr_programs,
    rlvr_sampling,
    rlvr_turns,
)
from experiments.rlvr_policy import Setup
from experiments.tasks import Problems
from rewardjax.core import masking
from rewardjax.diagnostics import pass_at_k
from rewardjax.types import Reward


def by_kind(values, valid, kinds, names: tuple[str, ...]) -> dict:
  """Mean of values `[..., B]` over all problems and over each kind."""
  kinds = jnp.broadcast_to(kinds, values.shape)
  mean = lambda where: masking.masked_mean(values, valid & where, -1)
  rows = {"accuracy": mean(jnp.ones(kinds.shape, bool))}
  if len(names) > 1:
    for i, name in enumerate(names):
      rows[f"accuracy/{name}"] = mean(kinds == i)
  return rows


def by_sample(reward: Reward, kinds, config) -> dict:
  """`by_kind` of `[..., B, G]` samples of problems, and pass@k."""
  kinds = jnp.broadcast_to(kinds[:, None], reward.value.shape[-2:])
  flat = lambda x: x.reshape(*x.shape[:-2], -1)
  names = tuple(config.task.kinds)
  rows = by_kind(*map(flat, reward), kinds.ravel(), names)
  for k in config.evaluation.pass_at:
    estimates = pass_at_k.pass_at_k(reward.value > 0.5, reward.valid, k=k)
    known = jnp.isfinite(estimates)
    rows[f"pass_at_{k}"] = masking.masked_mean(estimates, known, -1)
  return rows


def make_success(setup: Setup, held_out: Problems) -> Callable[..., dict]:
  """Returns the pure `params -> {metric: []}`.

  The accuracy is the policy's own probability of the reference answer,
  averaged over problems: what a token verifier would accept on average.
  Where working comes before the answer, or a world answers in between, there
  are too many ways to it: then it is the share of samples, drawn with one key
  throughout.
  """
  names = tuple(setup.config.task.kinds)
  held_out = jax.tree.map(jnp.asarray, held_out)
  kinds = held_out.kinds

  def success(params):
    found = rlvr_policy.exact_success(setup, params, held_out)
    everywhere = jnp.ones(kinds.shape, bool)
    rows = by_kind(found, everywhere, kinds, names)
    for k in setup.config.evaluation.pass_at:
      # Exactly: the share of the problems that k draws are to solve.
      rows[f"pass_at_{k}"] = pass_at_k.coverage(found, everywhere, k=k)
    return rows

  def sampled_success(params):
    key = jax.random.key(0)
    rollouts = rlvr_sampling.answer(setup, key, params, held_out)
    reward, _ = rlvr_turns.judge(setup, held_out, rollouts)
    return by_sample(reward, kinds, setup.config)

  drawn = setup.mark or setup.world is not None
  return sampled_success if drawn else success


def make_evaluate(setup: Setup, held_out: Problems) -> Callable[..., dict]:
  """Returns the pure `(agents, frozen) -> {metric: [A, S]}`."""

  def make(setup):
    success = make_success(setup, held_out)
    return lambda agent, _: success(agent.train.params)

  over = rlvr_programs.over_frozen(setup, make, shared=True)
  return lambda agents, frozen: over(agents, None, frozen)
