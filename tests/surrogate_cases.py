"""Cases of surrogates, reducers, laws, KL terms and whole recipes."""

import functools

import jax.numpy as jnp

from rewardjax.policies import laws
from rewardjax.recipes import policy_gradient as recipes
from tests import enumeration
from tests import estimators as e
from tests import worlds as w
from tests.worlds import BIASED, NOTHING, SCALED, UNBIASED, Case


def reducers():
  """On the sampling policy: what each way of adding up tokens ascends."""
  world = w.one_prompt()
  on_policy = (
      "score",
      "clipped token ratio",
      "clipped mean ratio (GSPO)",
      "detached ratio (CISPO)",
      "soft gate",
      "sequence ratio x score",
  )
  expected = {
      "sequence_sum_mean": (UNBIASED, 1.0),
      "fixed_length_mean": (SCALED, 0.5),
      "sequence_mean": (BIASED, None),
      "token_mean": (BIASED, None),
      "group_mean": (BIASED, None),
  }
  make = lambda name, estimator, verdict, n=2, **fields: Case(
      "Surrogates and reducers, on the sampling policy",
      name,
      n,
      w.ONE,
      world,
      estimator,
      *verdict,
      **fields,
  )
  for surrogate in on_policy:
    for reducer, verdict in expected.items():
      estimator = e.compose(surrogate=surrogate, reducer=reducer)
      yield make(f"{surrogate}, {reducer}", estimator, verdict)
  yield make(
      "score, sequence_mean, no baseline",
      e.compose("no baseline", reducer="sequence_mean"),
      (UNBIASED, 1.0),
      ascends="reward per token",
  )
  yield make(
      "score, sequence_mean, leave-one-out",
      e.compose(reducer="sequence_mean"),
      (UNBIASED, 1.0),
      ascends="reward per token, centred",
  )
  for n in (3, 4):
    yield make(
        "score, token_mean, larger group",
        e.compose(reducer="token_mean"),
        (BIASED, None),
        n,
    )


def off_policy():
  """Samples of another policy: which ratios undo that."""
  section = "Surrogates, off the sampling policy"
  world = w.one_prompt(off_policy=True)
  verdicts = {name: (BIASED, None) for name in e.SURROGATES}
  verdicts["sequence ratio x score"] = (UNBIASED, 1.0)
  for surrogate, verdict in verdicts.items():
    estimator = e.compose(surrogate=surrogate)
    yield Case(section, surrogate, 2, w.ONE, world, estimator, *verdict)
  yield Case(
      section,
      "unclipped sequence ratio (RLOO)",
      2,
      w.ONE,
      world,
      e.sequence_ratio_estimator(),
      UNBIASED,
      1.0,
  )
  flat = w.make_world(w.FLAT, [[1, 0, 0, 1]], off_policy=True)
  yield Case(
      section,
      "unclipped token ratio, one-token answers",
      2,
      w.FLAT,
      flat,
      e.compose(surrogate="unclipped token ratio"),
      UNBIASED,
      1.0,
  )


def kl_losses():
  """KL terms as losses: whose gradient they have."""
  on, off = w.one_prompt(), w.one_prompt(off_policy=True)
  flat = w.make_world(w.FLAT, [[1, 0, 0, 1]])
  tokens, swapped = "-KL of tokens", "-KL of tokens, swapped"
  straight = ("k1_straight_through", "k3_straight_through")
  good = (UNBIASED, 1.0)
  rows = [
      ("k1", on, tokens, (NOTHING, 0.0)),
      ("k2", on, tokens, good),
      ("k3", on, tokens, (BIASED, None)),
      ("k3", on, swapped, good),
      *((name, on, tokens, good) for name in straight),
      *((name, off, tokens, (BIASED, None)) for name in ("k1", "k2", "k3")),
      *((name, off, tokens, (BIASED, None)) for name in straight),
  ]
  case = lambda name, n, space, world, estimator, verdict, ascends: Case(
      "KL terms", name, n, space, world, estimator, *verdict, ascends=ascends
  )
  for name, world, ascends, verdict in rows:
    label = f"{name} as a loss" + ("" if world is on else ", off-policy")
    estimator = e.kl_loss_estimator(name)
    yield case(label, 1, w.ONE, world, estimator, verdict, ascends)
  for name in ("k1", "k2", "k3", *straight):
    estimator = e.kl_loss_estimator(name, weighted=True)
    label = f"{name} x token ratio as a loss, off-policy"
    yield case(label, 1, w.ONE, off, estimator, good, tokens)
  estimator = e.kl_loss_estimator("k2")
  sequences = "-KL of sequences"
  yield case("k2 as a loss", 1, w.ONE, on, estimator, (BIASED, None), sequences)
  yield case(
      "k2 as a loss, one-token answers",
      1,
      w.FLAT,
      flat,
      estimator,
      good,
      sequences,
  )
  for advantage, scale in {
      "no baseline": 1.0,
      "leave-one-out": 1.0,
      "centered": 0.5,
  }.items():
    yield case(
        f"k1 in the reward, {advantage}",
        2,
        w.ONE,
        on,
        e.kl_reward_estimator(advantage),
        w.scaled(scale),
        "reward - KL",
    )
  yield case(
      "k1 in the reward, standardized",
      2,
      w.ONE,
      on,
      e.kl_reward_estimator("standardized"),
      (BIASED, None),
      "reward - KL",
  )


def sampling_laws():
  """Temperature and top-k, for the sampler alone or for both."""
  section = "Sampling laws"
  world = w.one_prompt()
  cold, short = laws.SamplingLaw(temperature=0.6), laws.SamplingLaw(top_k=2)
  case = functools.partial(
      Case, section, group_size=2, space=w.ONE, world=world
  )
  score = e.compose()
  for name, law in (("temperature 0.6", cold), ("top-k 2", short)):
    yield case(
        name=f"{name}, sampler and scorer",
        estimator=score,
        verdict=UNBIASED,
        scale=1.0,
        ascends="reward under the law",
        law=law,
    )
    yield case(
        name=f"{name}, sampler only",
        estimator=score,
        verdict=BIASED,
        ascends="reward under the law",
        law=law,
        scoring_law=enumeration.PLAIN,
    )


def whole_recipes():
  """The recipes of papers, with their own defaults, one prompt."""
  section = "Whole recipes"
  n, world = 3, w.one_prompt()
  critic = lambda log_probs, batch: recipes.ppo(
      log_probs,
      batch.rollouts,
      batch.reward,
      values=jnp.full(log_probs.shape, 0.5),
  )[0]
  plain = lambda function, *verdict, **kwargs: Case(
      section,
      function.__name__,
      n,
      w.ONE,
      world,
      e.recipe(function, **kwargs),
      *verdict,
  )
  yield plain(recipes.reinforce, UNBIASED, 1.0)
  yield plain(recipes.rloo, UNBIASED, 1.0)
  yield plain(recipes.dr_grpo, SCALED, (n - 1) / n / 2, length=2)
  yield plain(recipes.grpo, BIASED)
  yield plain(recipes.gspo, BIASED)
  yield plain(recipes.cispo, BIASED, low=0.8, high=1.2)
  yield plain(recipes.dapo, BIASED, max_length=9, buffer=2)
  yield plain(recipes.reinforce_pp, BIASED)
  yield plain(recipes.reinforce_pp_baseline, BIASED)
  yield Case(section, "ppo", n, w.ONE, world, critic, BIASED)
  off = w.one_prompt(off_policy=True)
  wide = dict(clip_low=1e3, clip_high=1e3)
  yield Case(
      section,
      "rloo, off-policy, not clipped",
      n,
      w.ONE,
      off,
      e.recipe(recipes.rloo, **wide),
      UNBIASED,
      1.0,
  )
  for function in (recipes.reinforce, recipes.rloo):
    yield Case(
        section,
        f"{function.__name__}, with a KL coefficient",
        n,
        w.ONE,
        world,
        e.recipe(function, with_reference=True, kl_coefficient=w.BETA),
        UNBIASED,
        1.0,
        ascends="reward - KL",
    )
  flat = w.four_actions()._replace(
      rates=w.constant_rates((1, 4), 0.0, 0.0),
      believed=w.constant_rates((1, 4), 0.0, 0.0),
  )
  gain = e.gain("standardized", flat, w.FLAT, n)
  for function in (recipes.grpo, recipes.gspo):
    yield Case(
        section,
        f"{function.__name__}, one-token answers",
        n,
        w.FLAT,
        flat,
        e.recipe(function),
        SCALED,
        gain,
    )
