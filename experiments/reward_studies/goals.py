"""What goal-conditioned representations claim, on sequences with a rule.

The function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.diagnostics import agreement
from rewardjax.models.heads import VectorHead
from rewardjax.reward_models import contrastive, fitting, goals, pairwise
from rewardjax.search import voting

_METRICS = (
    "AUROC", "AUROC at half length", "AUROC of the lowest cosine",
    "wrong tokens removed", "vote", "filtered vote",
)


class Reader(nn.Module):
  """A gated recurrence: features of every prefix, and their rewards."""

  vocab_size: int
  width: int

  @nn.compact
  def __call__(self, tokens):
    """Features `[N, T, H]` and rewards `[N, T]`."""
    x = jax.nn.one_hot(tokens, self.vocab_size)
    h = nn.RNN(nn.GRUCell(self.width))(x)
    return h, VectorHead(1)(h)[..., 0]


class World(NamedTuple):
  """Each token is the sum of the last two, until a step where it is not."""

  base: int
  length: int

  def follow(self, start, broken, guesses):
    """Sequences `[N, T]` that guess from step `broken` on."""

    def step(last, inputs):
      t, guess = inputs
      right = (last[0] + last[1]) % self.base
      new = jnp.where(t >= broken, guess, right)
      return (last[1], new), new

    times = jnp.arange(2, self.length)
    rest = jax.lax.scan(
        step, (start[:, 0], start[:, 1]), (times, guesses.T[2:])
    )[1]
    return jnp.concatenate([start, rest.T], axis=1)

  def draw(self, key, count):
    """Pairs with one beginning: one follows the rule, one breaks it."""
    keys = split_named(key, "start", "broken", "guesses")
    whole = (count, self.length)
    start = jax.random.randint(keys["start"], (count, 2), 0, self.base)
    guesses = jax.random.randint(keys["guesses"], whole, 0, self.base)
    broken = jax.random.randint(
        keys["broken"], (count,), 2, self.length // 2
    )
    never = jnp.full((count,), self.length)
    return dict(
        chosen=self.follow(start, never, guesses),
        rejected=self.follow(start, broken, guesses),
    )


def _loss(net, beta, num_positions):
  """Bradley-Terry at the last token, plus `beta` times the contrast."""

  def pick(key, features):
    uniforms = jax.random.uniform(key, (len(features), num_positions, 2))
    real = jnp.ones(features.shape[:2], bool)
    at = contrastive.goal_positions(uniforms, real)
    take = lambda i: jnp.take_along_axis(features, i[..., None], axis=1)
    return take(at.source), take(at.goal)

  def loss(params, batch, key):
    keys = split_named(key, "good", "bad")
    good, r_good = net.apply(params, batch["chosen"])
    bad, r_bad = net.apply(params, batch["rejected"])
    sources, wanted = pick(keys["good"], good)
    _, unwanted = pick(keys["bad"], bad)
    others = jnp.roll(sources, 1, axis=0)  # of another text
    contrast = contrastive.goal_contrastive(sources, wanted, others, unwanted)
    losses = pairwise.pairwise_logistic(r_good[:, -1] - r_bad[:, -1])
    return Mean.of(losses + beta * contrast)

  return loss


def _vote(net, params, world, key, goal, low, *, num_groups, group_size,
          right):
  """Accuracy of a vote on the last token, and of the filtered one."""
  keys = split_named(key, "start", "broken", "guesses", "right")
  count = num_groups * group_size
  start = jax.random.randint(keys["start"], (num_groups, 2), 0, world.base)
  start = jnp.repeat(start, group_size, axis=0)
  guesses = jax.random.randint(
      keys["guesses"], (count, world.length), 0, world.base
  )
  broken = jax.random.randint(keys["broken"], (count,), 2, world.length // 2)
  good = jax.random.bernoulli(keys["right"], right, (count,))
  tokens = world.follow(start, jnp.where(good, world.length, broken), guesses)
  truth = world.follow(start, jnp.full((count,), world.length), guesses)
  fold = lambda x: x.reshape(num_groups, group_size, *x.shape[1:])
  answers, truth = fold(tokens[:, -1]), fold(truth[:, -1])[:, 0]
  trace = fold(goals.cosine_trace(net.apply(params, tokens)[0], goal))
  plain = voting.majority_vote(answers).answer
  kept = voting.filtered_vote(answers, trace, threshold=low, skip=2).answer
  return jnp.mean(plain == truth), jnp.mean(kept == truth)


def _measure(net, params, world, train, test, key, voters):
  known = net.apply(params, train["chosen"])[0]
  goal = goals.goal_state(known, jnp.ones(known.shape[:2], bool))
  texts = jnp.concatenate([test["chosen"], test["rejected"]])
  good = jnp.arange(len(texts)) < len(test["chosen"])
  features, rewards = net.apply(params, texts)
  trace = goals.cosine_trace(features, goal)[:, 2:]
  seen = goals.cosine_trace(known, goal)[:, 2:]
  low = jnp.quantile(jnp.min(seen, -1), 0.05)
  below = jnp.cumsum(trace[len(test["chosen"]):] < low, -1)
  return jnp.stack([
      agreement.auroc(rewards[:, -1], good),
      agreement.auroc(rewards[:, world.length // 2], good),
      agreement.auroc(jnp.min(trace, -1), good),
      jnp.mean(below > 0),
      *_vote(net, params, world, key, goal, low, **voters),
  ])


def goal_conditioned_rm(
    *, seed, num_seeds, base, length, width, num_pairs, num_test, beta,
    num_positions, num_steps, batch_size, learning_rate, voters, partial,
    lowest, removed,
) -> Study:
  """Bradley-Terry, and then more of it with or without the contrast.

  `partial`, `lowest` and `removed` are what the criterion asks for.
  """
  world, net = World(base, length), Reader(base, width)

  def fit(key, params, data, weight):
    return fitting.fit(
        key, params, _loss(net, weight, num_positions), data,
        optimizer=optax.adam(learning_rate), num_steps=num_steps,
        batch_size=batch_size,
    ).params

  def run(key):
    keys = split_named(key, "train", "test", "init", "first", "then", "vote")
    train = world.draw(keys["train"], num_pairs)
    test = world.draw(keys["test"], num_test)
    params = net.init(keys["init"], train["chosen"][:1])

    def one(params, weights):
      # One program for both halves of the training.
      stages = jnp.stack([keys["first"], keys["then"]])
      step = lambda params, x: (fit(x[0], params, train, x[1]), None)
      params = jax.lax.scan(step, params, (stages, weights))[0]
      return _measure(net, params, world, train, test, keys["vote"], voters)

    return jax.vmap(one, (None, 0))(params, jnp.array([[0, 0], [0, beta]]))

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  plain, guided = np.mean(found, 0)
  gain = dict(zip(_METRICS, guided - plain))
  passed = (
      gain["AUROC at half length"] >= partial
      and gain["AUROC of the lowest cosine"] >= lowest
      and guided[3] >= removed
      and guided[5] >= guided[4]
  )
  return Study(
      "Goal-conditioned representations: prefixes that know their end",
      f"With the contrast the AUROC at half length rises by {partial:g}, that "
      f"of the lowest cosine to the goal by {lowest:g}; stopping below the 5% "
      f"quantile removes {removed:g} of the tokens of wrong sequences, and "
      "the filtered vote is not less accurate",
      bool(passed),
      [
          mean_row(name, metric, found[:, i, j])
          for i, name in enumerate(("Bradley-Terry", "with goals"))
          for j, metric in enumerate(_METRICS)
      ],
      {},
      f"{NOTE} The quantile is over preferred sequences of the training set, "
      "each by its lowest cosine.",
  )
