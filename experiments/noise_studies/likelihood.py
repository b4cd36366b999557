"""Studies of likelihood rewards: which kind learns, and where it does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import tables
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.advantages import group, running
from rewardjax.environments import bandits
from rewardjax.rewards import likelihood


def _learn(key, *, log_probs, kind, score, group_size, num_steps, **options):
  """Trains one table over chains; returns the expected `score` per step.

  `log_probs` `[B, K, L]` are of the answer's tokens after each chain.
  """

  def step(logits, step_key):
    draw_key, answer_key = jax.random.split(step_key)
    chosen = tables.draw(draw_key, logits, group_size=group_size)
    tokens = jnp.take_along_axis(log_probs, chosen[..., None], axis=1)
    if kind == "binary":  # a sampled answer is right as a whole, or not
      whole = likelihood.answer_likelihood(tokens, kind="prob")
      rewards = jax.random.uniform(answer_key, whole.shape) < whole
      rewards = rewards.astype(float)
    else:
      rewards = likelihood.answer_likelihood(tokens, kind=kind)
    advantages = group.standardized(rewards, epsilon=options["epsilon"])
    logits = tables.ascend(
        logits, chosen, advantages, learning_rate=options["learning_rate"]
    )
    return logits, jnp.mean(bandits.expected_reward(logits, score))

  keys = jax.random.split(key, num_steps)
  return jax.lax.scan(step, jnp.zeros(score.shape), keys)[1]


def likelihood_rewards(
    *, seed, num_seeds, num_prompts, num_chains, lengths, low, high, kinds,
    within, worse, **learning,
) -> Study:
  """Clean answers of two lengths: the log-probability never loses."""
  shape = (num_prompts, num_chains)

  def run(key, name, length):
    world_key, learn_key = jax.random.split(key)
    score = jax.random.uniform(world_key, shape, minval=low, maxval=high)
    log_probs = jnp.broadcast_to(score[..., None], (*shape, length))
    line = _learn(
        learn_key, log_probs=log_probs, kind=name, score=score, **learning
    )
    return line, jnp.mean(jnp.max(score, axis=-1))

  rows, figures, passed = [], {}, True
  for length in lengths:
    found = tables.side_by_side(
        functools.partial(run, length=length), kinds,
        seed=seed, num_seeds=num_seeds,
    )
    lines = {name: x[0] for name, x in found.items()}
    best = np.mean(next(iter(found.values()))[1])
    label = f"length {length}"
    rows += [
        mean_row(f"{label}, {name}", "log-likelihood per token", x[:, -1])
        for name, x in lines.items()
    ]
    figures[f"length_{length}"] = tables.curves(
        lines, "log-likelihood per token"
    )
    last = tables.last_means(lines)
    passed &= last["log_prob"] > best - within
    if length == max(lengths):
      passed &= max(last["binary"], last["prob"]) < last["log_prob"] - worse
  return Study(
      "Likelihood rewards: clean answers, short and long",
      f"log_prob within {within:g} of the best chain at every length; binary "
      f"and prob worse than it by {worse:g} at the longest",
      bool(passed),
      rows,
      figures,
  )


def rlpr(
    *, seed, num_seeds, num_prompts, num_chains, length, bad, low, high,
    kinds, within, worse, snr, gain, **learning,
) -> Study:
  """Answers with corrupted tokens, and the filter of narrow groups."""
  shape = (num_prompts, num_chains)

  def run(key, name, num_bad):
    world_key, bad_key, learn_key = jax.random.split(key, 3)
    score = jax.random.uniform(world_key, shape, minval=low, maxval=high)
    clean = jnp.broadcast_to(score[..., None], (*shape, length))
    noise = -4 - 6 * jnp.abs(jax.random.normal(bad_key, clean.shape))
    corrupted = jnp.arange(length)[None, None] < num_bad
    line = _learn(
        learn_key, log_probs=jnp.where(corrupted, noise, clean), kind=name,
        score=score, **learning,
    )
    return line, jnp.mean(jnp.max(score, axis=-1))

  rows, figures, passed = [], {}, True
  for num_bad in bad:
    found = tables.side_by_side(
        functools.partial(run, num_bad=num_bad), kinds,
        seed=seed, num_seeds=num_seeds,
    )
    lines = {name: x[0] for name, x in found.items()}
    best = np.mean(next(iter(found.values()))[1])
    rows += [
        mean_row(f"{num_bad} bad, {name}", "log-likelihood, clean", x[:, -1])
        for name, x in lines.items()
    ]
    figures[f"bad_{num_bad}"] = tables.curves(lines, "log-likelihood, clean")
    last = tables.last_means(lines)
    if num_bad:
      mine = last.pop("mean_prob")
      passed &= mine > best - within
      passed &= max(last.values()) < mine - worse
  ratios = _filter_gain(seed, num_seeds, **snr)
  rows += [mean_row(name, "signal to noise", x) for name, x in ratios.items()]
  passed &= np.mean(ratios["filtered"]) > gain * np.mean(ratios["all groups"])
  return Study(
      "RLPR: corrupted answers, and groups without information",
      f"With corrupted tokens mean_prob within {within:g} of the best chain "
      f"and all others worse by {worse:g}; the filter of narrow groups "
      f"multiplies signal to noise by {gain:g}",
      bool(passed),
      rows,
      figures,
  )


def _filter_gain(
    seed, num_seeds, *, num_prompts, group_size, signal, noise, factor, draws
):
  """|mean| / std of the gradient of one shared logit, with and without.

  Half of the prompts pay `signal` for arm 1; the other half pay only noise.
  """
  informative = (jnp.arange(num_prompts) % 2 == 0)[:, None]

  def one(key):
    arm_key, noise_key = jax.random.split(key)
    shape = (num_prompts, group_size)
    arm = jax.random.bernoulli(arm_key, 0.5, shape).astype(float)
    rewards = noise * jax.random.normal(noise_key, shape)
    rewards += signal * arm * informative
    advantages = group.standardized(rewards)
    state = running.Spread(
        jnp.mean(running.group_spreads(rewards)), jnp.array(100)
    )
    wide = running.wide_groups(state, rewards, factor=factor)[:, None]
    slopes = advantages * (arm - 0.5)
    kept = jnp.sum(wide) * group_size
    return jnp.mean(slopes), jnp.sum(slopes * wide) / kept

  def ratios(key):
    slopes = jax.vmap(one)(jax.random.split(key, draws))
    return [jnp.mean(x) / jnp.std(x) for x in slopes]

  found = jax.jit(jax.vmap(ratios))(seed_keys(seed, num_seeds))
  return dict(zip(("all groups", "filtered"), map(np.asarray, found)))
