"""What MusicRL claims: designed rewards, users' preferences, one after another.

The function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.reward_studies import models
from experiments.reward_studies.beds import tokens
from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.core.random import split_named
from rewardjax.recipes import staged
from rewardjax.reward_models import contrastive, ensembles
from rewardjax.types import Reward, Rollouts

_CAPTIONS = len(tokens.GOOD)
# Weights of adherence, quality and the model of users, in two stages.
_STAGES = {
    "R": ((1.0, 1.0, 0.0), (1.0, 1.0, 0.0)),
    "U": ((0.0, 0.0, 1.0), (0.0, 0.0, 1.0)),
    "RU": ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
}
_METRICS = (
    "adherence", "quality", "users' gold", "wins over the base", "entropy"
)


class _Policy(NamedTuple):
  """Logits of each token after a caption, `[captions, T, V]`."""

  logits: jax.Array
  baseline: jax.Array

  def sample(self, key, count):
    """Rollouts `[captions, count, T]`."""
    shape = (count, *self.logits.shape[:2])
    drawn = jnp.moveaxis(jax.random.categorical(key, self.logits, shape=shape),
                         0, 1)
    mask = jnp.ones(drawn.shape, bool)
    return Rollouts(
        jnp.arange(_CAPTIONS)[:, None], jnp.ones((_CAPTIONS, 1), bool), drawn,
        mask, self.log_probs(drawn), ~mask[..., 0],
    )

  def log_probs(self, drawn):
    """Of each token."""
    laws = jax.nn.log_softmax(self.logits)[:, None]
    laws = jnp.broadcast_to(laws, (*drawn.shape, laws.shape[-1]))
    return jnp.take_along_axis(laws, drawn[..., None], -1)[..., 0]


def _counts(drawn):
  return tokens.counts(tokens.Texts(drawn, jnp.ones(drawn.shape, bool)))


def _designed(drawn):
  """Cosine to what the caption asks for, and good less bad tokens."""
  counts = _counts(drawn)
  asked = jnp.eye(tokens.VOCAB_SIZE)[jnp.array(tokens.GOOD)][:, None]
  asked = jnp.broadcast_to(asked, counts.shape)
  texts = tokens.Texts(drawn, jnp.ones(drawn.shape, bool))
  return contrastive.cosine(counts, asked), tokens.gold(texts)


def _gold(drawn, scale, style):
  """What users like: both designed rewards, and a style none of them sees."""
  adherence, quality = (
      (x - scale.mean[i]) / scale.std[i]
      for i, x in enumerate(_designed(drawn))
  )
  first, second = (_counts(drawn)[..., i] for i in tokens.STYLE)
  return adherence + quality + style * (first - second)


def _seen(drawn):
  """What the model of users sees: counts, and the caption beside them."""
  counts = _counts(drawn)
  caption = jnp.eye(_CAPTIONS)[:, None, :]
  caption = jnp.broadcast_to(caption, (*counts.shape[:-1], _CAPTIONS))
  both = (counts[..., :, None] * caption[..., None, :]).reshape(
      *counts.shape[:-1], -1
  )
  return jnp.concatenate([counts, both], -1) / drawn.shape[-1]


def _ask_users(key, policy, gold, *, num_pairs, sharpness, fit):
  """A scorer from pairs of samples of one caption."""
  keys = split_named(key, "samples", "answers", "fit")
  drawn = policy.sample(keys["samples"], 2 * num_pairs).tokens
  items, values = _seen(drawn), gold(drawn)
  first, second = (x.reshape(-1, x.shape[-1]) for x in jnp.split(items, 2, 1))
  gap = values[:, :num_pairs] - values[:, num_pairs:]
  won = jax.random.bernoulli(
      keys["answers"], jax.nn.sigmoid(sharpness * gap)
  ).reshape(-1, 1)
  model = models.scorer(items.shape[-1], (32,))
  params = models.fit_scorer(
      keys["fit"], model, models.pair_loss(model.apply),
      dict(
          chosen=jnp.where(won, first, second),
          rejected=jnp.where(won, second, first),
      ),
      **fit,
  )
  return lambda drawn: model.apply(params, _seen(drawn))


def _learn(key, base, policy, rewards, scale, weights, *, group_size,
           num_steps, learning_rate, kl_coefficient):
  """One stage of `music_rl` from `policy`."""
  optimizer = optax.adam(learning_rate)

  def step(carry, key):
    policy, moments = carry
    batch = policy.sample(key, group_size)
    value = staged.standardized_sum(rewards(batch.tokens), scale, weights)
    reference = base.log_probs(batch.tokens)

    def loss(policy):
      found, metrics = staged.music_rl(
          policy.log_probs(batch.tokens), batch, Reward(*value),
          policy.baseline, reference, kl_coefficient=kl_coefficient,
      )
      return found.value + metrics["baseline"].value

    updates, moments = optimizer.update(jax.grad(loss)(policy), moments)
    return (optax.apply_updates(policy, updates), moments), None

  carry = policy, optimizer.init(policy)
  return jax.lax.scan(step, carry, jax.random.split(key, num_steps))[0][0]


def _explained(drawn, gold):
  """R^2 of the designed rewards for the users' gold."""
  parts = [x.reshape(-1) for x in _designed(drawn)]
  x = jnp.stack([*parts, jnp.ones_like(parts[0])], -1)
  y = gold.reshape(-1)
  weights = jnp.linalg.solve(x.T @ x, x.T @ y)
  return 1 - jnp.var(y - x @ weights) / jnp.var(y)


def music_rl(
    *, seed, num_seeds, length, spread, style, num_reference, users, stage,
    num_test, wins, explained,
) -> Study:
  """Captions that ask for a token, rewards that are designed or learned.

  Every policy is trained for two stages. `wins` and `explained` are what the
  criterion asks for.
  """

  def run(key):
    keys = split_named(
        key, "base", "scale", "users", "first", "then", "test", "other"
    )
    logits = spread * jax.random.normal(
        keys["base"], (_CAPTIONS, length, tokens.VOCAB_SIZE)
    )
    base = _Policy(logits, jnp.zeros(_CAPTIONS))
    seen = base.sample(keys["scale"], num_reference).tokens
    designed = ensembles.fit_scale(jnp.stack(_designed(seen), -1))
    gold = lambda drawn: _gold(drawn, designed, style)
    scorer = _ask_users(keys["users"], base, gold, **users)
    rewards = lambda drawn: jnp.stack([*_designed(drawn), scorer(drawn)], -1)
    scale = ensembles.fit_scale(rewards(seen))
    before = gold(base.sample(keys["other"], num_test).tokens)

    def measure(policy):
      drawn = policy.sample(keys["test"], num_test).tokens
      liked = gold(drawn)
      laws = jax.nn.log_softmax(policy.logits)
      return jnp.stack([
          *(jnp.mean(x) for x in _designed(drawn)),
          jnp.mean(liked),
          jnp.mean((liked > before) + 0.5 * (liked == before)),
          -jnp.mean(jnp.sum(jnp.exp(laws) * laws, -1)),
      ])

    def learn(weights):
      # One program for both stages.
      keys_of = jnp.stack([keys["first"], keys["then"]])
      step = lambda policy, x: (
          _learn(x[0], base, policy, rewards, scale, x[1], **stage), None
      )
      return measure(jax.lax.scan(step, base, (keys_of, weights))[0])

    every = jax.vmap(learn)(jnp.array(list(_STAGES.values())))
    every = jnp.concatenate([measure(base)[None], every])
    return every, _explained(seen, gold(seen))

  found, share = jax.device_get(
      jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds))
  )
  base, r, u, both = np.mean(found, 0)
  passed = (
      (r[:2] > base[:2]).all()
      and u[3] > 0.5
      and both[3] >= max(wins, u[3], r[3])
      and np.mean(share) < explained
  )
  rows = [
      mean_row(name, metric, found[:, i, j])
      for i, name in enumerate(("base", *_STAGES))
      for j, metric in enumerate(_METRICS)
  ]
  return Study(
      "MusicRL: designed rewards, then users",
      "R raises both of its rewards, U the users' win rate over the base; RU "
      f"wins at least {wins:g} and as often as R and U; the designed rewards "
      f"explain less than {explained:g} of what users like",
      bool(passed),
      [*rows, mean_row("designed rewards", "R^2 of the users' gold", share)],
      {},
      f"{NOTE} All policies are trained for two stages; RU changes its reward "
      "between them.",
  )
