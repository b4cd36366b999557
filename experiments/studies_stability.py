"""What the papers on stable and mixed updates claim, on small tables.

Each function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import exploration_bandits as tables
from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.advantages import group, quantile
from rewardjax.core.random import split_named
from rewardjax.environments import bandits
from rewardjax.objectives import policy_gradient as surrogates
from rewardjax.policies import laws
from rewardjax.recipes import exploration, policy_gradient
from rewardjax.recipes.credit import Credit
from rewardjax.training import meta


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


def stable_reinforce_glitches(
    *, seed, num_seeds, num_prompts, num_arms, glitches, size, accuracy,
    num_steps, **options,
) -> Study:
  """Log-probs recorded wrongly by `size` nats, on a share `glitches` of tokens.

  Accuracy is counted as 0 where a run is no longer finite.
  """
  right = tables.right_arms(num_prompts, num_arms, 1).astype(float)

  def corrupt(key, batch):
    hit_key, sign_key = jax.random.split(key)
    shape = batch.rollouts.log_probs.shape
    hit = jax.random.bernoulli(hit_key, glitches, shape)
    error = size * jax.random.rademacher(sign_key, shape, float)
    spoiled = batch.rollouts.log_probs + jnp.where(hit, error, 0.0)
    rollouts = batch.rollouts._replace(log_probs=spoiled)
    return batch._replace(rollouts=rollouts)

  def stable(**kwargs):
    return lambda log_probs, batch: exploration.stable_reinforce(
        log_probs, batch.rollouts, batch.reward, **kwargs
    )[0]

  methods = {
      "unprotected": stable(threshold=math.inf, largest_ratio=math.inf),
      "stable_reinforce": stable(),
      "reinforce_pp, 20 nats": lambda log_probs, batch: (
          policy_gradient.reinforce_pp(
              log_probs, batch.rollouts, batch.reward
          )[0]
      ),
  }

  def run(key, loss):
    start = jnp.zeros_like(right)
    _, path = tables.learn(
        key, start, right, loss,
        corrupt=corrupt, num_steps=num_steps, **options,
    )
    return jax.vmap(bandits.expected_reward, (0, None))(path, right).mean(-1)

  found = {
      name: np.asarray(
          jax.jit(jax.vmap(functools.partial(run, loss=loss)))(
              seed_keys(seed, num_seeds)
          )
      )
      for name, loss in methods.items()
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
  )


def amft_mixture(
    *, seed, num_seeds, num_prompts, num_arms, start, share, num_steps,
    group_size, learning_rate, step_size, reached, margin,
) -> Study:
  """Demonstrations that are right most of the time, and a rare right arm.

  The right arm starts at logit `start`; demonstrations show it with
  probability `share`, else arm 1.
  """
  right = tables.right_arms(num_prompts, num_arms, 1).astype(float)
  shown = jnp.zeros(num_arms).at[jnp.array([0, 1])].set([share, 1 - share])
  demonstrator = jnp.broadcast_to(jnp.log(shown), right.shape)

  def value(logits, batch):
    """Its gradient is the policy gradient of the mean reward."""
    log_probs = tables.token_log_probs(logits, batch.rollouts.tokens[..., 0])
    advantages = group.leave_one_out(batch.reward.value)
    return -jnp.mean(surrogates.score_surrogate(log_probs, advantages))

  def gradients(key, logits):
    sample_key, known_key = jax.random.split(key)
    batch = tables.draw(sample_key, logits, right, group_size=group_size)
    known = tables.draw(
        known_key, demonstrator, right, group_size=group_size
    ).rollouts.tokens[..., 0]

    def explore(logits):
      log_probs = tables.token_log_probs(logits, batch.rollouts.tokens[..., 0])
      loss = policy_gradient.grpo(
          log_probs[..., None], batch.rollouts, batch.reward
      )[0]
      return loss.total / group_size

    def imitate(logits):
      return -jnp.sum(tables.token_log_probs(logits, known)) / group_size

    return jax.grad(explore)(logits), jax.grad(imitate)(logits)

  def run(key, schedule):
    def step(carry, inputs):
      logits, weight = carry
      key, t = inputs
      key, check_key = jax.random.split(key)
      used = weight if schedule is None else schedule(t)
      rl, sft = gradients(key, logits)
      mixed = meta.mix(rl, sft, weight=used)
      logits = optax.apply_updates(logits, -learning_rate * mixed)
      fresh = tables.draw(check_key, logits, right, group_size=group_size)
      slope = meta.one_step_slope(
          jax.grad(value)(logits, fresh), rl, sft, learning_rate=learning_rate
      )
      weight = meta.next_weight(weight, slope, step_size=step_size)
      earned = jnp.mean(bandits.expected_reward(logits, right))
      return (logits, weight), (earned, used)

    table = jnp.zeros_like(right).at[:, 0].set(start)
    inputs = jax.random.split(key, num_steps), jnp.arange(num_steps)
    return jax.lax.scan(step, (table, jnp.array(0.5)), inputs)[1]

  schedules = {
      "imitation": lambda t: jnp.array(1.0),
      "exploration": lambda t: jnp.array(0.0),
      "half": lambda t: jnp.array(0.5),
      "one after the other": lambda t: (t < num_steps // 2).astype(float),
      "amft": None,
  }
  found = {
      name: jax.device_get(
          jax.jit(jax.vmap(functools.partial(run, schedule=schedule)))(
              seed_keys(seed, num_seeds)
          )
      )
      for name, schedule in schedules.items()
  }
  earned = {name: x[0] for name, x in found.items()}
  final = {name: np.mean(x[:, -1]) for name, x in earned.items()}
  passed = final["amft"] >= reached and final["amft"] > final["half"] + margin
  rows = [mean_row(name, "accuracy", x[:, -1]) for name, x in earned.items()]
  weights = found["amft"][1]
  rows.append(mean_row("amft", "largest weight", weights.max(axis=-1)))
  rows.append(mean_row("amft", "last weight", weights[:, -1]))
  steps = np.arange(1, num_steps + 1)
  return Study(
      "AMFT: when to stop imitating",
      f"Accuracy of at least {reached:g}, and more than {margin:g} above a "
      "fixed weight of one half",
      bool(passed),
      rows,
      {
          "accuracy": Curves(steps, earned, "step", "accuracy"),
          "weight": Curves(steps, {"amft": weights}, "step", "weight"),
      },
  )
