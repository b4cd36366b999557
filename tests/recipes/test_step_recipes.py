"""Recipes of steps, likelihood, agreement and several rewards."""

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


def slope_of(call, log_probs):
  return jax.jit(jax.value_and_grad(lambda x: call(x)[0].value))(log_probs)


@every_recipe
def test_recipe_is_the_formula_of_its_paper(name):
  batch = binary(1)
  extra = step_batches.make(batch)
  reference = partial(getattr(step_references, name), batch=batch, extra=extra)
  with jax.enable_x64(True):
    poisoned = batches.poison(batch)
    call = whole(name, poisoned, step_batches.poison(extra, batch))
    actual, slope = slope_of(call, jnp.asarray(poisoned.log_probs))
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
  batch = binary()
  extra = step_batches.make(batch)
  results = []
  for value in (0.0, np.nan):
    poisoned = batches.poison(batch, value)
    call = whole(name, poisoned, step_batches.poison(extra, batch, value))
    # Eagerly: compiled code can turn nan * 0 into 0 and hide the leak.
    loss = lambda x, call=call: call(x)[0].value
    results.append(jax.value_and_grad(loss)(jnp.asarray(poisoned.log_probs)))
  jax.tree.map(np.testing.assert_array_equal, *results)
  np.testing.assert_array_equal(results[0][1][~batch.counted], 0.0)


@every_recipe
def test_nothing_valid_is_zero_loss_and_zero_gradient(name):
  batch = binary()
  batch = batch._replace(valid=np.zeros_like(batch.valid))
  extra = step_batches.poison(step_batches.make(batch), batch)
  call = whole(name, batches.poison(batch), extra)
  value, slope = slope_of(call, jnp.full(batch.mask.shape, jnp.nan))
  assert value == 0.0
  np.testing.assert_array_equal(slope, 0.0)


@every_recipe
def test_gradient_reaches_nothing_but_the_policy(name):
  """Scores, answers and the reward model's own log-probs are data."""
  batch, (recipe, options, from_extra, from_batch) = binary(), CASES[name]
  extra = step_batches.make(batch)
  arrays = step_batches.arrays(extra, *from_extra)
  arrays |= {k: jnp.asarray(getattr(batch, k)) for k in from_batch}
  held = {"step_rewards", "process_log_probs", "behavior_values"}
  held |= {"answer_log_probs"} if name == "rlpr" else set()
  floats = {k: arrays.pop(k) for k in held & set(arrays)}
  values = extra.components if name == "gdpo" else batch.rewards
  known = extra.component_mask if name == "gdpo" else batch.valid

  def loss(values, floats):
    reward = Reward(values, jnp.asarray(known))
    log_probs = jnp.asarray(batch.log_probs)
    rollouts = batches.rollouts(batch)
    return recipe(log_probs, rollouts, reward, **options, **arrays, **floats)[
        0
    ].value

  slopes = jax.jit(jax.grad(loss, (0, 1)))(
      jnp.asarray(values, jnp.float32), floats
  )
  for slope in jax.tree.leaves(slopes):
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
  log_probs = jnp.asarray(batch.log_probs)
  args = log_probs, batches.rollouts(batch), batches.reward(batch)
  plain = policy_gradient.grpo(*args)[0].value
  thoughts = step_batches.arrays(extra, *CASES["tp_grpo"][2])
  none = two_level.tp_grpo(*args, weight=0.0, **thoughts)[0].value
  np.testing.assert_allclose(none, plain, rtol=1e-6)
  same = args[1].log_probs
  ids = jnp.asarray(extra.step_ids)
  steps = dict(process_log_probs=same, step_ids=ids, num_steps=3)
  a = two_level.oprl_credit(*args[1:], weight=1.0, **steps)
  b = two_level.oprl_credit(*args[1:], weight=0.0, **steps)
  np.testing.assert_array_equal(a.advantages, b.advantages)


@pytest.mark.parametrize("seed", range(4))
def test_the_answer_keeps_the_sign_of_its_outcome(seed):
  """Tokens of the last thought, whatever the thoughts before it earned."""
  batch = binary(seed)
  batch = batch._replace(valid=np.ones_like(batch.valid))
  extra = step_batches.make(batch, seed)
  arrays = step_batches.arrays(extra, *CASES["tp_grpo"][2])
  credit = two_level.thought_credit(
      batches.rollouts(batch), batches.reward(batch), weight=5.0, **arrays
  )
  for b, g in np.ndindex(4, 4):
    last = np.flatnonzero(batch.mask[b, g])[-1]
    advantage = credit.advantages[b, g, last]
    if len(set(batch.rewards[b])) > 1:
      assert np.sign(advantage) == (1 if batch.rewards[b, g] else -1)
    else:
      assert advantage == 0.0


def test_the_likelihood_recipe_without_its_direct_term():
  batch = binary()
  extra = step_batches.make(batch)
  with_, without = (
      whole("likelihood", batch, extra, direct=d)(jnp.asarray(batch.log_probs))
      for d in (True, False)
  )
  metrics = with_[1]
  np.testing.assert_allclose(
      with_[0].value,
      without[0].value - metrics["answer_likelihood"].value,
      rtol=1e-6,
  )


def test_narrow_groups_leave_rlpr():
  batch = binary()
  extra = step_batches.make(batch)
  log_probs = jnp.asarray(batch.log_probs)
  spread = running.Spread(jnp.array(1e3), jnp.array(9))
  loss, _ = whole("rlpr", batch, extra, spread=spread)(log_probs)
  assert loss.weight == 0 and loss.total == 0
  early = spread._replace(updates=jnp.array(1))
  loss, _ = whole("rlpr", batch, extra, spread=early)(log_probs)
  assert loss.weight == batch.counted.sum()


def test_the_reward_model_of_oprl_learns_what_succeeded():
  batch = binary()
  extra = step_batches.make(batch)
  rollouts, reward = batches.rollouts(batch), batches.reward(batch)
  ids = jnp.asarray(extra.step_ids)
  loss = lambda lp: two_level.oprl_reward_loss(
      lp, rollouts, reward, step_ids=ids, num_steps=3
  )
  start = loss(rollouts.log_probs)
  np.testing.assert_allclose(start.value, np.log(2), rtol=1e-6)
  slope = jax.grad(lambda lp: loss(lp).value)(rollouts.log_probs)
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
  answers = jnp.array([[3, 3, 5], [3, 3, 5], [-1, -1, -1], [-1, -1, -1]])
  reward = Reward(jnp.zeros((4, 3)), jnp.ones((4, 3), bool))
  twin = agreement.twin_reward(answers, reward)
  mine = agreement.majority_reward(answers, reward)
  np.testing.assert_array_equal(twin.value, mine.value)
  np.testing.assert_array_equal(twin.value[2:], 0.0)
