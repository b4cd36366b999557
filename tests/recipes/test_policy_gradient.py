import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.recipes import policy_gradient as recipes
from rewardjax.types import Reward, Rollouts
from tests.recipes import batches, cases, references

# They share what they compile.
pytestmark = pytest.mark.xdist_group("recipes.policy_gradient")
every_recipe = pytest.mark.parametrize("name", cases.CASES)


def test_every_recipe_has_a_case():
  assert set(cases.CASES) == set(recipes.__all__)


@functools.partial(jax.jit, static_argnums=0)
def _value_and_slopes(name, batch):
  """The loss, and its slope in the log-probs and in the values."""

  def value(log_probs, values):
    given = batch._replace(values=values)
    return cases.whole(name, given)(log_probs)[0].value

  return jax.value_and_grad(value, (0, 1))(batch.log_probs, batch.values)


@functools.cache
def _trapped(name):
  """`batches.eagerly` of its traps; every recipe is given an anchor."""

  def call(batch):
    anchor = dict(reference_log_probs=batch.reference)
    return cases.whole(name, batch, **anchor)(batch.log_probs)

  return batches.eagerly(call, batches.traps(batches.make()))


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
    actual, (slope, _) = _value_and_slopes(name, batches.poison(batch))
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
    _, (_, slope) = _value_and_slopes("ppo", batches.poison(batch))
  expected = _numeric_gradient(
      lambda v: references.ppo(batch.log_probs, batch, v),
      batch.values,
      batch.counted,
  )
  np.testing.assert_allclose(slope, expected, atol=1e-8)


@every_recipe
def test_masked_and_invalid_entries_are_never_read(name):
  """Pain 7 (TRL #5773, ms-swift #8123) and 12 (miles #1827, TRL #3750)."""
  outs, slopes = _trapped(name)
  rows = [jax.tree.map(lambda x, i=i: x[i], (outs, slopes)) for i in range(3)]
  for other in rows[1:]:
    jax.tree.map(np.testing.assert_array_equal, rows[0], other)
  for leaf in jax.tree.leaves(rows[0]):
    assert np.all(np.isfinite(leaf))
  masked = ~batches.make().counted
  np.testing.assert_array_equal(slopes.log_probs[:3, masked], 0.0)


@every_recipe
def test_nothing_valid_is_zero_loss_and_zero_gradient(name):
  """Pain 8: TRL #3248, NeMo-RL #158 (all completions masked)."""
  (value, *_), slopes = _trapped(name)
  assert value[3] == 0.0
  np.testing.assert_array_equal(slopes.log_probs[3], 0.0)


GROUPED = [name for name in cases.CASES if name not in ("reinforce", "ppo")]


@pytest.mark.parametrize("name", GROUPED)
def test_groups_of_equal_rewards_have_no_gradient(name):
  """Pain 3: NeMo-RL #4161; exactly 0, with the KL off."""
  batch = batches.make()
  batch = batch._replace(rewards=np.full(batch.rewards.shape, 0.1))
  if name == "reinforce_pp":  # whitened as one batch: equal at every token
    batch = batch._replace(valid=np.ones_like(batch.valid))
  call = cases.whole(name, batch, kl_coefficient=0.0)
  total = lambda lp: call(lp)[0]
  log_probs = jnp.asarray(batch.log_probs)
  slope, weight = jax.jit(
      jax.grad(lambda lp: (total(lp).value, total(lp).weight), has_aux=True)
  )(log_probs)
  if name == "dapo":  # the length penalty may not bring a dead group back
    assert weight == 0
  np.testing.assert_array_equal(slope, 0.0)


@every_recipe
def test_gradient_reaches_nothing_but_the_policy(name):
  _, slopes = _trapped(name)
  for held in ("behavior", "rewards", "reference", "behavior_values"):
    np.testing.assert_array_equal(getattr(slopes, held), 0.0)


@pytest.mark.parametrize("name", ["grpo", "gspo", "cispo", "dapo"])
def test_standardising_recipes_ignore_scale_and_offset_of_rewards(name):
  options = dict(factor=0.0) if name == "dapo" else {}
  np.testing.assert_allclose(*_losses_of_two_scales(name, options), rtol=2e-5)


@pytest.mark.parametrize("name", ["dr_grpo", "rloo"])
def test_unscaled_recipes_scale_with_rewards(name):
  options = {} if name == "dr_grpo" else dict(kl_coefficient=0.0)
  one, three = _losses_of_two_scales(name, options)
  np.testing.assert_allclose(3 * one, three, rtol=2e-5)


def _losses_of_two_scales(name, options):
  """Of the rewards r and 3 r - 1."""
  batch = batches.make()

  def loss(rewards):
    call = cases.whole(name, batch._replace(rewards=rewards), **options)
    return call(jnp.asarray(batch.log_probs))[0].value

  rewards = np.stack([batch.rewards, 3.0 * batch.rewards - 1.0])
  return jax.device_get(jax.jit(jax.vmap(loss))(rewards))


# --- unbiasedness, by listing ------------------------------------------------

# Two tokens of three symbols; the second depends on the first.
TOKENS = np.array(list(itertools.product(range(3), repeat=2)))
REWARDS = np.array([0.0, 1.0, 0.5, 0.0, 0.0, 2.0, 1.0, -1.0, 0.3])
PARAMS = np.random.default_rng(3).normal(size=(4, 3))


def _log_probs(params, tokens):
  first = jax.nn.log_softmax(params[0])[tokens[..., 0]]
  second = jax.nn.log_softmax(params[1:])[tokens[..., 0], tokens[..., 1]]
  return jnp.stack([first, second], axis=-1)


@functools.cache
def _exact_gradient():
  """Of the expected reward; and the chance of each answer."""

  def expected(params):
    chance = jnp.exp(jnp.sum(_log_probs(params, TOKENS), -1))
    return jnp.vdot(chance, REWARDS), chance

  return jax.device_get(jax.jit(jax.grad(expected, has_aux=True))(PARAMS))


def _expected_gradient(recipe, group_size, chance, **options):
  """Sums gradients of one group over all draws of its members."""

  def one(chosen):
    tokens = jnp.asarray(TOKENS)[chosen][None]
    rollouts = Rollouts(
        prompts=jnp.zeros((1, 1), int),
        prompt_mask=jnp.ones((1, 1), bool),
        tokens=tokens,
        mask=jnp.ones(tokens.shape, bool),
        log_probs=_log_probs(jnp.asarray(PARAMS), tokens),
        truncated=jnp.zeros(tokens.shape[:2], bool),
    )
    value = jnp.asarray(REWARDS)[chosen][None]
    reward = Reward(value, jnp.ones(value.shape, bool))
    loss = lambda params: (
        recipe(_log_probs(params, tokens), rollouts, reward, **options)[0].value
    )
    return jax.grad(loss)(jnp.asarray(PARAMS))

  outcomes = np.array(list(itertools.product(range(9), repeat=group_size)))
  gradients = jax.device_get(jax.jit(jax.vmap(one))(outcomes))
  return -np.tensordot(np.prod(chance[outcomes], 1), gradients, 1)


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
    exact, chance = _exact_gradient()
    actual = _expected_gradient(recipe, group_size, chance, **options)
  np.testing.assert_allclose(actual, scale * exact, atol=1e-10)
