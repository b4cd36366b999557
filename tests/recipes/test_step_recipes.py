"""Recipes of steps, likelihood, agreement and several rewards."""

import functools
import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.advantages import running
from rewardjax.recipes import (
    agreement,
    decomposition,
    likelihood,
    multi_reward,
    policy_gradient,
    process,
    two_level,
)
from rewardjax.types import Reward
from tests.recipes import batches, step_batches, step_references

STEPS = ("step_ids", "step_rewards", "step_mask")
CRITIC = dict(decay=0.9)
# recipe, keywords, arrays of the extra batch, arrays of the batch
CASES = {
    "reward_refinement": (
        process.reward_refinement,
        dict(threshold=0.6, weight=0.3, **CRITIC),
        STEPS,
        ("values", "behavior_values"),
    ),
    "ppr": (process.ppr, CRITIC, STEPS, ("values", "behavior_values")),
    "lare": (decomposition.lare, CRITIC, STEPS, ("values", "behavior_values")),
    "gated_accumulation": (
        process.gated_accumulation, dict(threshold=0.5), STEPS[1:], ()
    ),
    "oprl": (
        two_level.oprl,
        dict(num_steps=step_batches.NUM_STEPS, weight=0.7),
        ("process_log_probs", "step_ids"),
        (),
    ),
    "tp_grpo": (
        two_level.tp_grpo,
        dict(weight=0.7),
        ("labels", "step_ids", "step_mask"),
        (),
    ),
    "likelihood": (
        likelihood.likelihood, {}, ("answer_log_probs", "answer_mask"), ()
    ),
    "rlpr": (
        likelihood.rlpr,
        dict(baseline=jnp.full((4, 1), 0.4)),
        ("answer_log_probs", "answer_mask"),
        (),
    ),
    "co_reward": (agreement.co_reward, {}, ("answers",), ()),
    "gdpo": (
        multi_reward.gdpo, dict(weights=jnp.array([1.0, 0.5])), (), ()
    ),
}
# They share what they compile.
pytestmark = pytest.mark.xdist_group("recipes.steps")
every_recipe = pytest.mark.parametrize("name", CASES)


def binary(seed=0):
  """The batch of the other recipes, its last group right or wrong."""
  batch = batches.make(seed)
  rewards = np.where(batch.rewards > 0.45, 1.0, 0.0)
  return batch._replace(rewards=rewards)


def whole(name, batch, extra, **changes):
  """`log_probs -> (loss, metrics)`."""
  recipe, options, from_extra, from_batch = CASES[name]
  arrays = step_batches.arrays(extra, *from_extra)
  arrays |= {k: jnp.asarray(getattr(batch, k)) for k in from_batch}
  reward = batches.reward(batch)
  if name == "gdpo":
    reward = Reward(
        *map(jnp.asarray, (extra.components, extra.component_mask))
    )
  return lambda log_probs: recipe(
      log_probs, batches.rollouts(batch), reward, **options, **arrays, **changes
  )


@functools.cache
def trapped(name):
  """`batches.eagerly` of the traps of both batches."""
  rows = []
  values = (0.0, np.nan, np.inf, np.nan)
  for value, batch in zip(values, batches.traps(binary())):
    extra = step_batches.make(binary()._replace(valid=batch.valid))
    rows.append((batch, step_batches.poison(extra, batch, value)))
  call = lambda row: whole(name, *row)(row[0].log_probs)
  return batches.eagerly(call, rows)


@every_recipe
def test_recipe_is_the_formula_of_its_paper(name):
  batch = binary(1)
  extra = step_batches.make(batch)
  reference = partial(getattr(step_references, name), batch=batch, extra=extra)
  with jax.enable_x64(True):
    poisoned = batches.poison(batch)
    call = whole(name, poisoned, step_batches.poison(extra, batch))
    actual, slope = jax.jit(jax.value_and_grad(lambda x: call(x)[0].value))(
        jnp.asarray(poisoned.log_probs)
    )
  np.testing.assert_allclose(actual, reference(batch.log_probs), rtol=1e-8)
  expected = np.zeros_like(batch.log_probs)
  for index in zip(*np.nonzero(batch.counted)):
    shift = np.zeros_like(expected)
    shift[index] = 1e-6
    ends = (reference(batch.log_probs + s * shift) for s in (1, -1))
    expected[index] = np.subtract(*ends) / 2e-6
  np.testing.assert_allclose(slope, expected, atol=1e-8)
  assert np.max(np.abs(slope)) > 1e-3


@every_recipe
def test_masked_and_invalid_entries_are_never_read(name):
  (value, *_), (slopes, _) = trapped(name)
  slope = slopes.log_probs
  for row in (1, 2):
    assert value[0] == value[row]
    np.testing.assert_array_equal(slope[0], slope[row])
  np.testing.assert_array_equal(slope[:3, ~binary().counted], 0.0)


@every_recipe
def test_nothing_valid_is_zero_loss_and_zero_gradient(name):
  (value, *_), (slopes, _) = trapped(name)
  assert value[3] == 0.0
  np.testing.assert_array_equal(slopes.log_probs[3], 0.0)


@every_recipe
def test_gradient_reaches_nothing_but_the_policy(name):
  """Scores, answers and the reward model's own log-probs are data."""
  _, (slopes, extras) = trapped(name)
  held = [slopes.rewards, slopes.behavior, slopes.behavior_values]
  held += [extras.step_rewards, extras.process_log_probs, extras.components]
  if name == "rlpr":
    held.append(extras.answer_log_probs)
  for slope in held:
    np.testing.assert_array_equal(slope, 0.0)


@every_recipe
def test_signature_is_that_of_the_other_recipes(name):
  expected = list(inspect.signature(policy_gradient.grpo).parameters)[:3]
  parameters = inspect.signature(CASES[name][0]).parameters
  assert list(parameters)[:3] == expected
  assert all(
      p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD)
      for p in list(parameters.values())[3:]
  )


def test_steps_of_no_weight_leave_the_outcome_alone():
  """OPRL without steps is leave-one-out, TP-GRPO is GRPO."""
  batch = binary()
  extra = step_batches.make(batch)
  args = batches.rollouts(batch), batches.reward(batch)
  thoughts = step_batches.arrays(extra, *CASES["tp_grpo"][2])
  ids = jnp.asarray(extra.step_ids)
  steps = dict(process_log_probs=args[0].log_probs, step_ids=ids, num_steps=3)

  @jax.jit
  def pairs(log_probs):
    given = (log_probs, *args)
    none = two_level.tp_grpo(*given, weight=0.0, **thoughts)[0].value
    plain = policy_gradient.grpo(*given)[0].value
    a = two_level.oprl_credit(*args, weight=1.0, **steps)
    b = two_level.oprl_credit(*args, weight=0.0, **steps)
    return (none, plain), (a.advantages, b.advantages)

  losses, advantages = pairs(jnp.asarray(batch.log_probs))
  np.testing.assert_allclose(*losses, rtol=1e-6)
  np.testing.assert_array_equal(*advantages)


@jax.jit
def thought_credit(rollouts, reward, **arrays):
  return two_level.thought_credit(rollouts, reward, weight=5.0, **arrays)


@pytest.mark.parametrize("seed", range(4))
def test_the_answer_keeps_the_sign_of_its_outcome(seed):
  """Tokens of the last thought, whatever the thoughts before it earned."""
  batch = binary(seed)
  batch = batch._replace(valid=np.ones_like(batch.valid))
  extra = step_batches.make(batch, seed)
  arrays = step_batches.arrays(extra, *CASES["tp_grpo"][2])
  credit = thought_credit(
      batches.rollouts(batch), batches.reward(batch), **arrays
  )
  advantages = np.asarray(credit.advantages)
  for b, g in np.ndindex(4, 4):
    last = np.flatnonzero(batch.mask[b, g])[-1]
    advantage = advantages[b, g, last]
    if len(set(batch.rewards[b])) > 1:
      assert np.sign(advantage) == (1 if batch.rewards[b, g] else -1)
    else:
      assert advantage == 0.0


def test_the_likelihood_recipe_without_its_direct_term():
  batch = binary()
  extra = step_batches.make(batch)
  log_probs = jnp.asarray(batch.log_probs)
  both = jax.jit(
      lambda x: [
          whole("likelihood", batch, extra, direct=d)(x) for d in (True, False)
      ]
  )
  (with_, metrics), (without, _) = both(log_probs)
  np.testing.assert_allclose(
      with_.value,
      without.value - metrics["answer_likelihood"].value,
      rtol=1e-6,
  )


def test_narrow_groups_leave_rlpr():
  batch = binary()
  extra = step_batches.make(batch)
  log_probs = jnp.asarray(batch.log_probs)
  spread = running.Spread(jnp.full(2, 1e3), jnp.array([9, 1]))
  loss = jax.jit(
      jax.vmap(lambda x: whole("rlpr", batch, extra, spread=x)(log_probs)[0])
  )(spread)
  np.testing.assert_array_equal(loss.weight, [0, batch.counted.sum()])
  assert loss.total[0] == 0


def test_the_reward_model_of_oprl_learns_what_succeeded():
  batch = binary()
  extra = step_batches.make(batch)
  rollouts, reward = batches.rollouts(batch), batches.reward(batch)
  ids = jnp.asarray(extra.step_ids)
  loss = lambda lp: two_level.oprl_reward_loss(
      lp, rollouts, reward, step_ids=ids, num_steps=3
  )

  def total(log_probs):
    start = loss(log_probs)
    return start.value, start

  (_, start), slope = jax.device_get(
      jax.jit(jax.value_and_grad(total, has_aux=True))(rollouts.log_probs)
  )
  np.testing.assert_allclose(start.total / start.weight, np.log(2), rtol=1e-6)
  np.testing.assert_array_equal(slope[~batch.counted], 0.0)
  # One success and two failures in group 0, two of each in group 3.
  assert start.weight == 2 + 4
  assert np.all(slope[0, 0][batch.counted[0, 0]] < 0)
  assert np.all(slope[0, 1][batch.counted[0, 1]] > 0)


def test_twins_need_pairs():
  odd = jnp.zeros((3, 2), int)
  reward = Reward(jnp.zeros((3, 2)), jnp.ones((3, 2), bool))
  with pytest.raises(ValueError, match="twin_reward: answers must have pairs"):
    agreement.twin_reward(odd, reward)


def test_one_view_twice_is_its_own_majority():
  answers = np.array([[3, 3, 5], [3, 3, 5], [-1, -1, -1], [-1, -1, -1]])
  reward = Reward(np.zeros((4, 3)), np.ones((4, 3), bool))
  both = jax.jit(
      lambda *args: (
          agreement.twin_reward(*args).value,
          agreement.majority_reward(*args).value,
      )
  )
  twin, mine = jax.device_get(both(answers, reward))
  np.testing.assert_array_equal(twin, mine)
  np.testing.assert_array_equal(twin[2:], 0.0)
