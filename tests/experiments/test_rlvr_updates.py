"""Whole updates of `experiments.rlvr`: of every recipe, beside stages."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.rlvr import base
from experiments import (
    rlvr_config,
    rlvr_learner,
    rlvr_policy,
    rlvr_programs,
    rlvr_verdicts,
)
from experiments.rlvr_recipes import RECIPES
from rewardjax.types import Reward
from tests.experiments.test_rlvr_rewards import (
    MODEL,
    STOP,
    params_of,
    samples,
)

STAGES = {
    "grpo": dict(
        credit=dict(estimator="standardized"), reducer="sequence_mean"
    ),
    "rloo": dict(surrogate=dict(ratio="sequence"), reducer="sequence_mean"),
    "reinforce": dict(
        credit=dict(name="return"),
        surrogate=dict(name="score"),
        reducer="sequence_sum_mean",
    ),
    # No group is dead, so none has to leave the loss.
    "dapo": dict(
        credit=dict(estimator="standardized"),
        shaping=dict(overlong_buffer=1),
        surrogate=dict(clip_high=0.28),
        reducer="token_mean",
    ),
}


class Learned(NamedTuple):
  """Two updates of all arms, program by program."""

  groups: list[list[str]]
  rows: list[dict]  # metrics of both, by arm and name
  policies: dict[str, np.ndarray]  # parameters in the end, by arm


def batch_of(setup):
  """Samples of the policy that starts: one group right at first, one later."""
  problems, rollouts = samples()
  score = jax.jit(lambda p: rlvr_policy.score(setup, p, rollouts).log_probs)
  rollouts = rollouts._replace(log_probs=score(params_of()))
  verdict = Reward(jnp.array([[1.0, 0, 0], [0, 1, 1]]), jnp.ones((2, 3), bool))
  seen = rlvr_verdicts.Seen(verdict, verdict)
  return rlvr_learner.Batch(problems, rollouts, seen)


def updates(setup, batch):
  """Metrics `[A, 1]` of two updates on a batch, and the parameters `[A]`."""
  init = jax.jit(
      lambda arm: rlvr_learner.init(setup, arm, jax.random.key(0), params_of())
  )
  step = jax.jit(rlvr_programs.make_learn(setup))
  rows, policies = ([], []), []
  for arm in range(len(setup.arms)):
    agent = init(arm)
    for found in rows:
      agent, metrics = step(agent, batch)
      found.append(jax.device_get(metrics))
    leaves = jax.tree.leaves(jax.device_get(agent.train.params["policy"]))
    policies.append(np.concatenate([x.ravel() for x in leaves]))
  stack = lambda *values: np.stack(values)[:, None]
  return [jax.tree.map(stack, *found) for found in rows], policies


@pytest.fixture(scope="module")
def learned():
  """The update alone, in programs such as a run has."""
  config = base.get_config("tiny")
  config.num_microbatches = 2
  config.optimizer.learning_rate = 0.02
  config.arms = {name: dict(recipe=dict(name=name)) for name in RECIPES}
  config.arms.update({f"{k}_by_stages": dict(x) for k, x in STAGES.items()})
  groups = rlvr_config.group_arms(rlvr_config.arm_configs(config))
  rows, policies, batch = ({}, {}), {}, None
  for arms in groups:
    setup = rlvr_policy.Setup(arms, MODEL, (STOP,))
    batch = batch or batch_of(setup)
    metrics, params = updates(setup, batch)
    policies |= dict(zip(arms, params))
    for row, found in zip(rows, metrics):
      row |= rlvr_programs.by_arm(found, arms)
  return Learned([list(arms) for arms in groups], list(rows), policies)


def test_recipes_learn_what_stages_say(learned):
  """Values and gradients of whole updates; in one program, all of them."""
  compared = {*STAGES, *(f"{name}_by_stages" for name in STAGES)}
  assert any(compared <= {*arms} for arms in learned.groups)
  for name in STAGES:
    close = lambda x, y, **how: np.testing.assert_allclose(
        x, y, rtol=2e-4, err_msg=name, **how  # noqa: B023
    )
    for row in learned.rows:
      for metric in ("loss", "grad_norm", "entropy"):
        close(
            row[f"{name}/{metric}"], row[f"{name}_by_stages/{metric}"],
            atol=2e-6,
        )  # fmt: skip
    close(
        learned.policies[name], learned.policies[f"{name}_by_stages"], atol=2e-5
    )
  norms = [learned.rows[1][f"{name}/grad_norm"][0] for name in STAGES]
  assert len(set(np.round(norms, 4))) == len(norms)  # the arms differ


def test_every_recipe_trains(learned):
  """In four programs: the plain ones, two laws, demonstrations, a critic."""
  sizes = [1, 1, 2, len(RECIPES) - 4 + len(STAGES)]
  assert sorted(map(len, learned.groups)) == sizes
  for row in learned.rows:
    for key, value in row.items():
      assert np.all(np.isfinite(value)), key
  for name in RECIPES:
    assert np.all(learned.rows[0][f"{name}/grad_norm"] > 0), name
    # By then no sample is within the narrow bounds of gspo.
    if name != "gspo":
      assert np.all(learned.rows[1][f"{name}/grad_norm"] > 0), name
  # Arms have their own metrics only.
  keys = learned.rows[1].keys()
  assert {"ppo/value_loss", "amft/imitation_loss", "lp_reg/protected"} <= keys
  assert "dcpo/protected" not in keys
