"""Recipes in the place of stages: both halves of each, and what they need."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.rlvr import base
from experiments import (
    rlvr_config,
    rlvr_halves,
    rlvr_recipe_calls,
    rlvr_recipes,
)
from experiments.rlvr_recipes import RECIPES, Scored, Trained
from rewardjax.policies.laws import SamplingLaw
from rewardjax.recipes import exploration, oreal, policy_gradient
from rewardjax.types import Reward, Rollouts

B, G, T = 4, 4, 5


def tiny(arms=None, **changes):
  config = base.get_config("tiny")
  config.task.answer_length = T
  config.update(changes)
  if arms is not None:
    config.arms = arms
  return config


def arm(name, **options):
  config = tiny(recipe=dict(name=name, options=options))
  return rlvr_config.arm_configs(config)["single"]


@pytest.fixture(scope="module")
def batch():
  """Samples of uneven lengths, one verdict unknown, two groups dead."""
  rng = np.random.default_rng(0)
  normal = lambda *shape: jnp.asarray(rng.normal(0, 1, shape), jnp.float32)
  lengths = jnp.asarray(rng.integers(1, T + 1, (B, G)))
  mask = jnp.arange(T)[None, None] < lengths[..., None]
  behavior = jnp.where(mask, -jnp.exp(normal(B, G, T)), 0.0)
  rollouts = Rollouts(
      jnp.ones((B, 2), int),
      jnp.ones((B, 2), bool),
      jnp.ones((B, G, T), int),
      mask,
      behavior,
      lengths == T,
  )
  value = jnp.asarray(rng.integers(0, 2, (B, G)), jnp.float32)
  value = value.at[0].set(1.0).at[1].set(0.0).at[2, 1].set(jnp.nan)
  reward = Reward(value, jnp.isfinite(value))
  near = lambda scale: behavior + scale * normal(B, G, T)
  scored = Scored(near(0.2), near(1.0), normal(B, G, T))
  trained = Trained(
      near(0.1),
      jnp.abs(normal(B, G, T)),
      normal(B, G, T),
      -jnp.exp(normal(B, 1, T)),
      jnp.ones((B, 1, T), bool),
  )
  return rollouts, reward, scored, trained


def gradient(loss, trained):
  """The loss, its metrics and its gradient to all that is trained."""
  frozen = trained.demonstration_mask

  def total(floats):
    mean, metrics = loss(Trained(*floats, frozen))
    return mean.total, (mean, metrics)

  total = jax.value_and_grad(total, has_aux=True)
  (_, found), gradients = total(trained[:4])
  return found, gradients


# Options of any half; none is a default.
UNUSUAL = dict(
    kl_coefficient=0.3,
    discount=0.9,
    baseline=0.2,
    decay=0.8,
    max_length=T,
    buffer=3,
    factor=0.5,
    drop_truncated=True,
    fraction=1.0,
    coefficient=0.4,
    target=0.3,
    cap=0.2,
    threshold=1.0,
    negative_coefficient=0.7,
)


@pytest.mark.parametrize("name", RECIPES)
def test_both_halves_are_the_whole_recipe(name, batch):
  """The table names the credit half that the paper's own function uses."""
  rollouts, reward, scored, trained = batch
  recipe = RECIPES[name]
  names = rlvr_recipe_calls.option_names(recipe)
  config = arm(name, **{k: v for k, v in UNUSUAL.items() if k in names})
  credit = rlvr_recipe_calls.credit(config, rollouts, reward, scored)
  halves = lambda x: rlvr_recipe_calls.loss(config, rollouts, credit, scored, x)
  options = rlvr_recipe_calls.options_of(config)

  def whole(x):
    data = {
        "tempered_log_probs": scored.by_law,
        "proxy_log_probs": scored.by_law,
        "behavior_values": scored.values,
        "entropies": x.entropies,
        "values": x.values,
        "demonstration_log_probs": x.demonstration_log_probs,
        "demonstration_mask": x.demonstration_mask,
        **options,
    }
    known = inspect.signature(recipe.loss).parameters
    given = {k: v for k, v in data.items() if k in known}
    given["reference_log_probs"] = scored.reference
    if "kl_coefficient" in options:
      given["kl_coefficient"] = options["kl_coefficient"]
    loss, metrics = recipe.loss(x.log_probs, rollouts, reward, **given)
    metrics.pop("entropy", None)
    return loss, metrics

  found, gradients = gradient(halves, trained)
  chex.assert_trees_all_close(
      (found, gradients), gradient(whole, trained), rtol=1e-5, atol=1e-6
  )
  assert float(jnp.sum(jnp.abs(gradients[0]))) > 0


@pytest.mark.parametrize("name", [x for x in RECIPES if x != "amft"])
def test_microbatches_add_up(name, batch):
  rollouts, reward, scored, trained = batch
  config = arm(name)
  credit = rlvr_recipe_calls.credit(config, rollouts, reward, scored)

  def loss(part):
    return lambda x: rlvr_recipe_calls.loss(
        config, *jax.tree.map(lambda y: y[part], (rollouts, credit, scored)), x
    )

  whole, gradients = gradient(loss(slice(None)), trained)
  halves = [
      gradient(loss(part), jax.tree.map(lambda x: x[part], trained))  # noqa: B023
      for part in (slice(0, 2), slice(2, 4))
  ]
  added = jax.tree.map(jnp.add, halves[0][0], halves[1][0])
  joined = jax.tree.map(
      lambda x, y: jnp.concatenate([x, y]), halves[0][1], halves[1][1]
  )
  chex.assert_trees_all_close(
      (added, joined), (whole, gradients), rtol=1e-5, atol=1e-6
  )


def test_the_law_of_each_arm(batch):
  """dcpo warms where entropy is lacking, lp_reg filters; one program."""
  rollouts, reward, *_ = batch
  config = tiny(
      arms=dict(
          cool=dict(recipe=dict(name="dcpo", options=dict(target=0.0))),
          filtered=dict(recipe=dict(name="lp_reg", options=dict(min_p=0.3))),
          warm=dict(
              recipe=dict(name="dcpo", options=dict(target=9.0, warm=1.5))
          ),
      ),
      sampling=dict(temperature=0.5),
  )
  arms = rlvr_config.arm_configs(config)
  setup = type("Setup", (), dict(arms=arms, law=SamplingLaw(0.5)))
  laws = [
      rlvr_halves.law_of_arm(setup, jnp.asarray(i), rollouts, reward)
      for i in range(3)
  ]
  found = [(float(x.temperature), float(x.min_p)) for x in laws]
  expected = [(0.4, 0.0), (0.5, 0.3), (0.75, 0.0)]
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_options_reach_both_halves(batch):
  rollouts, reward, scored, trained = batch
  run = lambda config: rlvr_recipe_calls.loss(
      config,
      rollouts,
      rlvr_recipe_calls.credit(config, rollouts, reward, scored),
      scored,
      trained,
  )[0].total
  for name, options in {
      "reinforce": dict(baseline=0.5),  # of the credit half
      "rloo": dict(kl_coefficient=0.5),
      "dapo": dict(buffer=4),
      "dcpo": dict(cap=0.01),
      "grpo": dict(clip_low=0.01),  # of the loss
      "gspo": dict(kl_coefficient=0.5, kl_estimator="k2"),
      "g2rpo": dict(entropy_coefficient=0.1, entropy_low=5.0),
      "amft": dict(weight=0.9),
  }.items():
    assert abs(run(arm(name, **options)) - run(arm(name))) > 1e-4, name


def test_needs_follow_from_options():
  needs = lambda name, **options: rlvr_recipe_calls.needs(arm(name, **options))
  assert needs("grpo") == rlvr_recipes.Needs()
  assert needs("grpo", kl_coefficient=0.1).reference
  assert needs("ppo").critic and needs("amft").demonstrations
  assert needs("lp_reg").law and needs("dcpo").law


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            dict(recipe=dict(name="gpro")),
            r"config\.recipe\.name must be one of reinforce, .*; got 'gpro'",
        ),
        (
            dict(recipe=dict(name="grpo", options=dict(clip=0.1))),
            r"config\.recipe\.options\.clip is no option of 'grpo'; choose "
            r"from clip_high, clip_low, kl_coefficient, kl_estimator",
        ),
        (
            dict(recipe=dict(name="lp_reg", options=dict(proxy_log_probs=1))),
            r"options\.proxy_log_probs is no option of 'lp_reg'; .* min_p",
        ),
        (
            dict(recipe=dict(options=dict(clip_low=0.1))),
            r"config\.recipe\.options are read with a config\.recipe\.name",
        ),
        (
            dict(
                recipe=dict(name="rloo"), regularizer=dict(kl_in_reward=0.4)
            ),
            r"config\.regularizer\.kl_in_reward must be 0 with config\.recipe",
        ),
        (
            dict(
                recipe=dict(name="unlikeliness"),
                correction=dict(name="backward"),
            ),
            r"config\.correction\.name must be 'none' .* 'unlikeliness'",
        ),
        (
            dict(recipe=dict(name="grpo"), sampling=dict(group_size=1)),
            r"group_size must be at least 2 for config\.recipe\.name 'grpo'",
        ),
        (
            dict(recipe=dict(name="oreal"), asynchronous=dict(lag=1)),
            r"config\.recipe\.name 'oreal' does not weigh them",
        ),
        (
            dict(evaluation=dict(pass_at=(0,))),
            r"evaluation\.pass_at must be in \[1, inf\], got 0",
        ),
        (
            dict(
                verifier=dict(trusted="numeric"),
                evaluation=dict(pass_at=(8,), num_samples=4),
            ),
            r"config\.evaluation\.pass_at = 8 .*num_samples draws 4",
        ),
    ],
)
def test_wrong_recipes_name_their_field(changes, message):
  with pytest.raises(ValueError, match=message) as error:
    rlvr_config.arm_configs(tiny(**changes))
  assert "\n" not in str(error.value)


def test_an_arm_may_have_options_that_the_others_do_not_have():
  options = dict(kl_coefficient=0.1)
  recipe = dict(name="rloo", options=options)
  arms = rlvr_config.arm_configs(tiny(dict(one=dict(recipe=recipe))))
  assert arms["one"].recipe.options.to_dict() == options


def test_every_recipe_of_a_policy_from_verdicts_is_in_the_table():
  rooms = (policy_gradient, exploration, oreal)
  names = {name for room in rooms for name in getattr(room, "__all__", ())}
  assert set(RECIPES) == names
