import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.recipes import policy_gradient as recipes
from rewardjax.types import Reward, Rollouts
from tests.recipes import batches, cases, references

every_recipe = pytest.mark.parametrize("name", cases.CASES)


def test_every_recipe_has_a_case():
  assert set(cases.CASES) == set(recipes.__all__)


def _with_value(call):
  """`log_probs -> (value of the loss, (loss, metrics))`."""

  def value(log_probs):
    out = call(log_probs)
    return out[0].value, out

  return value


def _numeric_gradient(function, x, mask, step=1e-6):
  slope = np.zeros_like(x)
  for index in zip(*np.nonzero(mask)):
    shift = np.zeros_like(x)
    shift[index] = step
    slope[index] = (function(x + shift) - function(x - shift)) / (2 * step)
  return slope


@every_recipe
@pytest.mark.parametrize("seed", [0, 1])
def test_recipe_is_the_formula_of_its_paper(name, seed):
  batch = batches.make(seed)
  reference = getattr(references, name)
  with jax.enable_x64(True):
    call = cases.whole(name, batches.poison(batch))
    log_probs = jnp.asarray(batches.poison(batch).log_probs)
    value = lambda lp: call(lp)[0].value
    actual, slope = jax.jit(jax.value_and_grad(value))(log_probs)
  expected = reference(batch.log_probs, batch)
  np.testing.assert_allclose(actual, expected, rtol=1e-9)
  expected = _numeric_gradient(
      lambda x: reference(x, batch), batch.log_probs, batch.counted
  )
  np.testing.assert_allclose(slope, expected, atol=1e-8)
  assert np.max(np.abs(slope)) > 1e-3


def test_critic_gradient_of_ppo():
  batch = batches.make()
  with jax.enable_x64(True):
    poisoned = batches.poison(batch)
    call = cases.whole("ppo", poisoned)
    value = lambda v: call(jnp.asarray(poisoned.log_probs), values=v)[0].value
    slope = jax.jit(jax.grad(value))(jnp.asarray(poisoned.values))
  expected = _numeric_gradient(
      lambda v: references.ppo(batch.log_probs, batch, v),
      batch.values,
      batch.counted,
  )
  np.testing.assert_allclose(slope, expected, atol=1e-8)


@every_recipe
def test_masked_and_invalid_entries_are_never_read(name):
  """Pain 7 (TRL #5773, ms-swift #8123) and 12 (miles #1827, TRL #3750)."""
  batch = batches.make()
  results = []
  for value in (0.0, np.nan, np.inf):
    poisoned = batches.poison(batch, value)
    call = cases.whole(name, poisoned)
    log_probs = jnp.asarray(poisoned.log_probs)
    # Eagerly: compiled code can turn nan * 0 into 0 and hide the leak.
    value_and_grad = jax.value_and_grad(_with_value(call), has_aux=True)
    (_, out), slope = value_and_grad(log_probs)
    results.append((out, slope))
  for other in results[1:]:
    jax.tree.map(np.testing.assert_array_equal, results[0], other)
  for leaf in jax.tree.leaves(results[0]):
    assert np.all(np.isfinite(leaf))
  np.testing.assert_array_equal(results[0][1][~batch.counted], 0.0)


@every_recipe
def test_nothing_valid_is_zero_loss_and_zero_gradient(name):
  """Pain 8: TRL #3248, NeMo-RL #158 (all completions masked)."""
  batch = batches.make()
  batch = batch._replace(valid=np.zeros_like(batch.valid))
  call = cases.whole(name, batches.poison(batch))
  loss = lambda lp: call(lp)[0].value
  value, slope = jax.value_and_grad(loss)(jnp.full(batch.mask.shape, jnp.nan))
  assert value == 0.0
  np.testing.assert_array_equal(slope, 0.0)


GROUPED = [name for name in cases.CASES if name not in ("reinforce", "ppo")]


@pytest.mark.parametrize("name", GROUPED)
def test_groups_of_equal_rewards_have_no_gradient(name):
  """Pain 3: NeMo-RL #4161; exactly 0, with the KL off."""
  batch = batches.make()
  batch = batch._replace(rewards=np.full(batch.rewards.shape, 0.1))
  if name == "reinforce_pp":  # whitened as one batch: equal at every token
    batch = batch._replace(valid=np.ones_like(batch.valid))
  call = cases.whole(name, batch, kl_coefficient=0.0)
  slope = jax.grad(lambda lp: call(lp)[0].value)(jnp.asarray(batch.log_probs))
  if name == "dapo":  # the length penalty may not bring a dead group back
    assert call(jnp.asarray(batch.log_probs))[0].weight == 0
  np.testing.assert_array_equal(slope, 0.0)


@every_recipe
def test_gradient_reaches_nothing_but_the_policy(name):
  batch = batches.make()
  case = cases.CASES[name]
  taken = inspect.signature(case.recipe).parameters

  def loss(behavior, rewards, reference, values):
    rollouts = batches.rollouts(batch)._replace(log_probs=behavior)
    reward = batches.reward(batch)._replace(value=rewards)
    arrays = {"reference_log_probs": reference}
    if "values" in taken:
      arrays |= {"values": jnp.asarray(batch.values)}
      arrays |= {"behavior_values": values}
    return case.recipe(
        jnp.asarray(batch.log_probs),
        rollouts,
        reward,
        **case.loss | case.credit | arrays,
    )[0].value

  data = (batch.behavior, batch.rewards, batch.reference, batch.behavior_values)
  data = [jnp.asarray(x, jnp.float32) for x in data]
  for slope in jax.grad(loss, argnums=(0, 1, 2, 3))(*data):
    np.testing.assert_array_equal(slope, 0.0)


@pytest.mark.parametrize("name", ["grpo", "gspo", "cispo", "dapo"])
def test_standardising_recipes_ignore_scale_and_offset_of_rewards(name):
  batch = batches.make()
  changed = batch._replace(rewards=3.0 * batch.rewards - 1.0)
  options = dict(factor=0.0) if name == "dapo" else {}
  losses = [
      cases.whole(name, b, **options)(jnp.asarray(b.log_probs))[0].value
      for b in (batch, changed)
  ]
  np.testing.assert_allclose(*losses, rtol=2e-5)


@pytest.mark.parametrize("name", ["dr_grpo", "rloo"])
def test_unscaled_recipes_scale_with_rewards(name):
  batch = batches.make()
  changed = batch._replace(rewards=3.0 * batch.rewards - 1.0)
  options = {} if name == "dr_grpo" else dict(kl_coefficient=0.0)
  one, three = (
      cases.whole(name, b, **options)(jnp.asarray(b.log_probs))[0].value
      for b in (batch, changed)
  )
  np.testing.assert_allclose(3 * one, three, rtol=2e-5)


# --- unbiasedness, by listing ------------------------------------------------

# Two tokens of three symbols; the second depends on the first.
TOKENS = np.array(list(itertools.product(range(3), repeat=2)))
REWARDS = np.array([0.0, 1.0, 0.5, 0.0, 0.0, 2.0, 1.0, -1.0, 0.3])
PARAMS = np.random.default_rng(3).normal(size=(4, 3))


def _log_probs(params, tokens):
  first = jax.nn.log_softmax(params[0])[tokens[..., 0]]
  second = jax.nn.log_softmax(params[1:])[tokens[..., 0], tokens[..., 1]]
  return jnp.stack([first, second], axis=-1)


def _expected_gradient(recipe, group_size, **options):
  """Sums gradients of one group over all draws of its members."""
  chance = jnp.exp(jnp.sum(_log_probs(jnp.array(PARAMS), TOKENS), -1))

  def one(chosen):
    tokens = jnp.array(TOKENS)[chosen][None]
    rollouts = Rollouts(
        prompts=jnp.zeros((1, 1), int),
        prompt_mask=jnp.ones((1, 1), bool),
        tokens=tokens,
        mask=jnp.ones(tokens.shape, bool),
        log_probs=_log_probs(jnp.array(PARAMS), tokens),
        truncated=jnp.zeros(tokens.shape[:2], bool),
    )
    value = jnp.array(REWARDS)[chosen][None]
    reward = Reward(value, jnp.ones(value.shape, bool))
    loss = lambda params: (
        recipe(_log_probs(params, tokens), rollouts, reward, **options)[0].value
    )
    return -jnp.prod(chance[chosen]) * jax.grad(loss)(jnp.array(PARAMS))

  outcomes = itertools.product(range(9), repeat=group_size)
  gradients = jax.jit(jax.vmap(one))(jnp.array(list(outcomes)))
  return jnp.sum(gradients, axis=0)


@pytest.mark.parametrize(
    "recipe,group_size,options,scale",
    [
        (recipes.reinforce, 1, {}, 1.0),
        (recipes.reinforce, 2, dict(baseline=0.7), 1.0),
        (recipes.rloo, 2, {}, 1.0),
        (recipes.rloo, 3, {}, 1.0),
        # The own sample in the mean: (N - 1) / N; 2 tokens are divided by 2.
        (recipes.dr_grpo, 2, dict(length=2), 0.5 / 2),
        (recipes.dr_grpo, 3, dict(length=2), 2 / 3 / 2),
    ],
)
def test_expected_gradient_is_that_of_the_expected_reward(
    recipe, group_size, options, scale
):
  with jax.enable_x64(True):
    actual = _expected_gradient(recipe, group_size, **options)
    exact = jax.grad(
        lambda params: jnp.vdot(
            jnp.exp(jnp.sum(_log_probs(params, TOKENS), -1)), REWARDS
        )
    )(jnp.array(PARAMS))
  expected = scale * np.asarray(exact)
  np.testing.assert_allclose(actual, expected, atol=1e-10)
