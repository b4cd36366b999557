"""Policies that trust pairs by a reward margin; rewards behind a critique."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.reward_studies.beds import tokens
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.reward_models import fitting, implicit, pairwise

_UNIFORM = -np.log(tokens.VOCAB_SIZE)


def _observed(key, num_pairs, *, length, noise, reward_noise):
  """Pairs of random texts whose label errs where they hardly differ.

  Returns:
    Chosen and rejected tokens, and the margin of a noisy reward model.
  """
  keys = split_named(key, "texts", "flips", "reward")
  law = jnp.full((2, num_pairs, tokens.VOCAB_SIZE), 1 / tokens.VOCAB_SIZE)
  texts = tokens.draw_texts(keys["texts"], law, length=length)
  worth = tokens.gold(texts)
  gap = worth[0] - worth[1]
  wrong = 0.5 * jnp.exp(-jnp.abs(gap) / noise)
  flip = jax.random.bernoulli(keys["flips"], wrong)
  swap = ((gap < 0) ^ flip)[:, None]
  chosen = jnp.where(swap, texts.tokens[1], texts.tokens[0])
  rejected = jnp.where(swap, texts.tokens[0], texts.tokens[1])
  seen = gap + reward_noise * jax.random.normal(keys["reward"], gap.shape)
  return chosen, rejected, jnp.where(swap[:, 0], -seen, seen)


def _policy_loss(logits, batch, key) -> Mean:
  """DPO of a policy of independent tokens, from the uniform one."""
  del key
  chosen, rejected, beta, weight = batch
  log_probs = jax.nn.log_softmax(logits)
  before = lambda x: jnp.full(x.shape, _UNIFORM)
  reward = lambda x: implicit.implicit_reward(log_probs[x], before(x))
  return Mean.of(pairwise.pairwise_logistic(
      reward(chosen) - reward(rejected), beta=beta, weight=weight
  ))


def _gold_at(logits, kl, length):
  """Expected gold where the policy, sharpened or flattened, has that KL."""
  direction = logits - jnp.mean(logits)

  def at(scale):
    log_p = jax.nn.log_softmax(scale * direction)
    return length * jnp.vdot(jnp.exp(log_p), log_p - _UNIFORM), log_p

  def halve(_, bounds):
    middle = jnp.sqrt(bounds[0] * bounds[1])
    low = at(middle)[0] < kl
    return jnp.where(low, middle, bounds[0]), jnp.where(low, bounds[1], middle)

  start = jnp.asarray(1e-4), jnp.asarray(1e4)
  low, _ = jax.lax.fori_loop(0, 40, halve, start)
  p = jnp.exp(at(low)[1])
  good, bad = jnp.array(tokens.GOOD), jnp.array(tokens.BAD)
  return length * (jnp.sum(p[good]) - jnp.sum(p[bad]))


def _critiques(key, num_pairs, noise, **fit):
  """Accuracy of a linear head on a text, and on the text and a critique."""
  keys = split_named(key, "train", "test", "fit", "wrong")

  def draw(key):
    parts = split_named(key, "gold", "noise")
    gold = jnp.sort(jax.random.normal(parts["gold"], (num_pairs, 2)), -1)
    spread = jnp.array(noise)[None, None] * jax.random.normal(
        parts["noise"], (num_pairs, 2, 2)
    )
    seen = gold[..., None] + spread
    return seen[:, 1] - seen[:, 0]

  def loss(head, rows, key):
    del key
    return Mean.of(pairwise.pairwise_logistic(rows @ head))

  def learn(shown):
    return fitting.fit(
        keys["fit"], jnp.zeros(2), loss, draw(keys["train"]) * shown[None],
        **fit,
    ).params

  test = draw(keys["test"])
  # Critiques of other answers: as noisy, about nothing.
  wrong = jnp.stack([test[:, 0], jax.random.permutation(
      keys["wrong"], test[:, 1]) * jax.random.rademacher(
          keys["wrong"], (num_pairs,), float)], axis=-1)
  both = jax.vmap(learn)(jnp.array([[1.0, 0.0], [1.0, 1.0]]))
  right = lambda head, rows: jnp.mean((rows @ head > 0).astype(float))
  return {
      "text alone": right(both[0], test),
      "with a critique": right(both[1], test),
      "with another answer's": right(both[1], wrong),
  }


def mm_rlhf(
    *, seed, num_seeds, num_pairs, length, label_noise, reward_noise, kl, base,
    weight, rate, critique_noise, better_seeds, learning_rate, **fit,
) -> Study:
  """DPO that trusts all pairs alike, or by the margin of a reward model."""
  fit = dict(optimizer=optax.adam(learning_rate), **fit)

  def run(key):
    keys = split_named(key, "pairs", "fit", "critiques")
    chosen, rejected, margins = _observed(
        keys["pairs"], num_pairs,
        length=length, noise=label_noise, reward_noise=reward_noise,
    )
    plain = jnp.full(num_pairs, base)
    sure = jnp.maximum(margins, 0.0)
    arms = {
        "DPO": (plain, jnp.ones(num_pairs)),
        "beta by margin": (
            implicit.dynamic_beta(margins, base=base, weight=weight, rate=rate),
            jnp.ones(num_pairs),
        ),
        "weight by margin": (plain, sure / jnp.mean(sure)),
    }

    def learn(beta, weights):
      data = chosen, rejected, beta, weights
      start = jnp.zeros(tokens.VOCAB_SIZE)
      found = fitting.fit(keys["fit"], start, _policy_loss, data, **fit)
      return _gold_at(found.params, kl, length)

    stacked = map(jnp.stack, zip(*arms.values()))
    gold = dict(zip(arms, jax.vmap(learn)(*stacked)))
    said = _critiques(keys["critiques"], num_pairs, critique_noise, **fit)
    return gold, said

  gold, said = jax.device_get(
      jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds))
  )
  gain = gold["beta by margin"] - gold["DPO"]
  mean = {name: np.mean(x) for name, x in said.items()}
  passed = (
      np.mean(gain) >= 0
      and np.sum(gain > 0) >= better_seeds
      and mean["with a critique"] >= mean["text alone"]
      and mean["with another answer's"] < mean["with a critique"]
  )
  return Study(
      "MM-RLHF: trust in pairs by their margin, rewards behind critiques",
      f"At {kl:g} nats gold with a beta by margin is not below that of DPO and "
      f"above it in {better_seeds} of {num_seeds} seeds; a critique helps, "
      "that of another answer harms",
      bool(passed),
      [mean_row(name, f"gold at {kl:g} nats", x) for name, x in gold.items()]
      + [mean_row("beta by margin", "gain over DPO", gain)]
      + [mean_row(name, "accuracy", x) for name, x in said.items()],
      {},
  )
