"""What the papers on stable updates claim, on small tables.

Each function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import exploration_bandits as tables
from experiments.studies import NOTE, Curves, Study, mean_row, seed_keys
from rewardjax.advantages import group, quantile
from rewardjax.core.random import split_named
from rewardjax.environments import bandits
from rewardjax.policies import laws
from rewardjax.recipes import exploration, policy_gradient
from rewardjax.recipes.credit import Credit


def lp_reg_floor(
    *, seed, num_seeds, num_prompts, num_arms, spread, min_p, coefficient,
    num_steps, learning_rate, within, below,
) -> Study:
  """One batch of punished rare tokens: where their probability ends.

  Of each prompt the least likely token that the filter keeps is drawn once,
  with advantage -1. `within` is the distance to the closed form allowed.
  """

  def run(key):
    start = spread * jax.random.normal(key, (num_prompts, num_arms))
    proxy = laws.law_logits(laws.SamplingLaw(min_p=min_p), start)
    rare = jnp.argmin(jnp.where(jnp.isfinite(proxy), proxy, jnp.inf), axis=-1)
    rare = rare[:, None]
    batch = tables.draw(key, start, jnp.zeros_like(start), group_size=1)
    before = tables.token_log_probs(start, rare)[..., None]
    rollouts = batch.rollouts._replace(
        tokens=rare[..., None], log_probs=before
    )
    batch = batch._replace(rollouts=rollouts)
    kept = bandits.at_arms(proxy, rare)[..., None]

    def last_ratio(marked):
      credit = Credit(
          -jnp.ones_like(before),
          rollouts.mask,
          marked=jnp.full(before.shape, marked),
      )
      loss = lambda log_probs, batch: exploration.lp_reg(
          log_probs, batch.rollouts, credit,
          proxy_log_probs=kept, coefficient=coefficient,
      )[0]
      last = tables.descend(
          start, batch, loss, learning_rate=learning_rate, epochs=num_steps
      )
      return jnp.exp(tables.token_log_probs(last, rare) - before[..., 0])[:, 0]

    raised = jnp.exp(kept - before)[:, 0, 0]
    root = jnp.sqrt(coefficient**2 + 4 * coefficient * raised)
    return last_ratio(True), last_ratio(False), (root - coefficient) / 2

  held, lost, expected = jax.device_get(
      jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds))
  )
  passed = np.max(np.abs(held - expected)) < within and np.max(lost) < below
  values = {"Lp-Reg": held, "closed form": expected, "clipped": lost}
  return Study(
      "Lp-Reg: a floor under rare tokens, within one batch",
      f"Every protected ratio ends within {within:g} of the closed form, "
      f"every other one below {below:g}",
      bool(passed),
      [
          mean_row(name, "final ratio", np.mean(x, axis=-1))
          for name, x in values.items()
      ],
      {},
  )


_ESTIMATORS = {
    "standardised": group.standardized,
    "quantile": quantile.gaussian_quantile,
}


def g2rpo_tasks(
    *, seed, num_seeds, num_groups, group_size, success_rate, equal, unequal
) -> Study:
  """How large the advantages of differently shaped rewards are.

  The criterion compares the two continuous tasks: the smaller mean |A| over
  the larger, above `equal` with quantiles and below `unequal` without.
  """
  shape = (num_groups, group_size)
  draws = {
      "binary": lambda key: jax.random.bernoulli(
          key, success_rate, shape
      ).astype(float),
      "beta": lambda key: jax.random.beta(key, 2.0, 2.0, shape),
      "heavy": lambda key: jax.random.cauchy(key, shape),
  }

  def run(key):
    out = {}
    keys = split_named(key, *draws)
    for task, draw in draws.items():
      rewards = draw(keys[task])
      for name, estimator in _ESTIMATORS.items():
        size = jnp.abs(estimator(rewards))
        of_group = jnp.mean(size, axis=-1)
        out[f"{task}, {name}"] = {
            "mean |A|": jnp.mean(size),
            "largest |A|": jnp.max(size),
            "variation of groups": jnp.std(of_group) / jnp.mean(of_group),
        }
    return out

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  ratios = {}
  for name in _ESTIMATORS:
    sizes = [found[f"{task}, {name}"]["mean |A|"] for task in ("beta", "heavy")]
    ratios[name] = np.minimum(*sizes) / np.maximum(*sizes)
  passed = (
      np.mean(ratios["quantile"]) > equal
      and np.mean(ratios["standardised"]) < unequal
  )
  rows = [
      mean_row(name, metric, x)
      for name, metrics in found.items()
      for metric, x in metrics.items()
  ]
  rows += [mean_row(k, "smaller over larger", x) for k, x in ratios.items()]
  return Study(
      "Gaussian GRPO: equal advantages for unequal rewards",
      f"Mean |A| of the continuous tasks, smaller over larger: above {equal:g} "
      f"with quantiles, below {unequal:g} with mean and std",
      bool(passed),
      rows,
      {},
  )


def _glitch(key, batch, share, size):
  """Adds or takes `size` nats of a share of the recorded log-probs."""
  hit_key, sign_key = jax.random.split(key)
  shape = batch.rollouts.log_probs.shape
  hit = jax.random.bernoulli(hit_key, share, shape)
  error = size * jax.random.rademacher(sign_key, shape, float)
  spoiled = batch.rollouts.log_probs + jnp.where(hit, error, 0.0)
  rollouts = batch.rollouts._replace(log_probs=spoiled)
  return batch._replace(rollouts=rollouts)


def _loss_of(recipe, **options):
  return lambda log_probs, batch: recipe(
      log_probs, batch.rollouts, batch.reward, **options
  )[0]


_PROTECTIONS = {
    "unprotected": _loss_of(
        exploration.stable_reinforce,
        threshold=math.inf,
        largest_ratio=math.inf,
    ),
    "stable_reinforce": _loss_of(exploration.stable_reinforce),
    "reinforce_pp, 20 nats": _loss_of(policy_gradient.reinforce_pp),
}


def stable_reinforce_glitches(
    *, seed, num_seeds, num_prompts, num_arms, glitches, size, accuracy,
    num_steps, **options,
) -> Study:
  """Log-probs recorded wrongly by `size` nats, on a share `glitches` of tokens.

  Accuracy is counted as 0 where a run is no longer finite.
  """
  right = tables.right_arms(num_prompts, num_arms, 1).astype(float)
  corrupt = functools.partial(_glitch, share=glitches, size=size)

  def run(key, loss):
    start = jnp.zeros_like(right)
    _, path = tables.learn(
        key, start, right, loss,
        corrupt=corrupt, num_steps=num_steps, **options,
    )
    return jax.vmap(bandits.expected_reward, (0, None))(path, right).mean(-1)

  keys = seed_keys(seed, num_seeds)
  found = {
      name: np.asarray(
          jax.jit(jax.vmap(lambda key, f=loss: run(key, f)))(keys)
      )
      for name, loss in _PROTECTIONS.items()
  }
  finite = {k: np.isfinite(x[:, -1]).astype(float) for k, x in found.items()}
  found = {k: np.nan_to_num(x, nan=0.0) for k, x in found.items()}
  final = {k: np.mean(x[:, -1]) for k, x in found.items()}
  passed = (
      not finite["unprotected"].any()
      and finite["stable_reinforce"].all()
      and final["stable_reinforce"] > accuracy
  )
  rows = [mean_row(k, "accuracy", x[:, -1]) for k, x in found.items()]
  rows += [mean_row(k, "finite runs", x) for k, x in finite.items()]
  steps = np.arange(1, num_steps + 1)
  return Study(
      "StableReinforce: glitches in recorded log-probs",
      "No unprotected run stays finite, every protected one does, with an "
      f"accuracy above {accuracy:g}",
      bool(passed),
      rows,
      {"accuracy": Curves(steps, found, "step", "accuracy")},
      f"{NOTE} Accuracy counts as 0 where a run is no longer finite. Every "
      "recipe here bounds log-ratios, by 20 nats unless told otherwise, as "
      "the third run does.",
  )
