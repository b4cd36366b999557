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
    """Sequences `[..., T]` that guess from step `broken` on; NumPy."""
    tokens = [start[..., 0], start[..., 1]]
    for t in range(2, self.length):
      right = (tokens[-1] + tokens[-2]) % self.base
      tokens.append(np.where(t >= broken, guesses[..., t], right))
    return np.stack(tokens, axis=-1)

  def draw(self, random, shape):
    """Starts, steps that break the rule, and guesses."""
    start = random.integers(0, self.base, (*shape, 2))
    broken = random.integers(2, self.length // 2, shape)
    return start, broken, random.integers(0, self.base, (*shape, self.length))

  def pairs(self, random, shape):
    """With one beginning: one follows the rule, one breaks it."""
    start, broken, guesses = self.draw(random, shape)
    return dict(
        chosen=self.follow(start, self.length, guesses),
        rejected=self.follow(start, broken, guesses),
    )

  def groups(self, random, shape, right):
    """Samples `[..., G, T]` for one beginning, and its true last token."""
    start, broken, guesses = self.draw(random, shape)
    start = np.broadcast_to(start[..., :1, :], start.shape)
    good = random.random(shape) < right
    tokens = self.follow(start, np.where(good, self.length, broken), guesses)
    truth = self.follow(start, self.length, guesses)
    return dict(tokens=tokens, truth=truth[..., 0, -1])


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
    features, rewards = _read_all(net, params, batch)
    good, bad = features["chosen"], features["rejected"]
    sources, wanted = pick(keys["good"], good)
    _, unwanted = pick(keys["bad"], bad)
    others = jnp.roll(sources, 1, axis=0)  # of another text
    contrast = contrastive.goal_contrastive(sources, wanted, others, unwanted)
    losses = pairwise.pairwise_logistic(
        rewards["chosen"][:, -1] - rewards["rejected"][:, -1]
    )
    return Mean.of(losses + beta * contrast)

  return loss


def _read_all(net, params, texts):
  """Features and rewards of several sets of texts, by one call."""
  ends = np.cumsum([len(x) for x in texts.values()])[:-1]
  found = net.apply(params, jnp.concatenate(list(texts.values())))
  return [dict(zip(texts, jnp.split(x, ends))) for x in found]


def _measure(net, params, train, test, groups):
  shape = groups["tokens"].shape
  texts = dict(
      known=train["chosen"], chosen=test["chosen"], rejected=test["rejected"],
      groups=groups["tokens"].reshape(-1, shape[-1]),
  )
  features, rewards = _read_all(net, params, texts)
  known = features["known"]
  goal = goals.goal_state(known, jnp.ones(known.shape[:2], bool))
  trace = {k: goals.cosine_trace(x, goal) for k, x in features.items()}
  lowest = {k: jnp.min(x[:, 2:], -1) for k, x in trace.items()}
  low = jnp.quantile(lowest["known"], 0.05)
  count = len(test["chosen"])
  good = jnp.arange(2 * count) < count
  both = lambda x: jnp.concatenate([x["chosen"], x["rejected"]])
  below = jnp.cumsum(trace["rejected"][:, 2:] < low, -1)
  answers = groups["tokens"][..., -1]
  plain = voting.majority_vote(answers).answer
  kept = voting.filtered_vote(
      answers, trace["groups"].reshape(shape), threshold=low, skip=2
  ).answer
  scores = jnp.stack([
      both(rewards)[:, -1], both(rewards)[:, shape[-1] // 2], both(lowest)
  ])
  return jnp.concatenate([
      agreement.auroc(scores, jnp.broadcast_to(good, scores.shape)),
      jnp.stack([
          jnp.mean(below > 0),
          jnp.mean(plain == groups["truth"]),
          jnp.mean(kept == groups["truth"]),
      ]),
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

  def run(key, train, test, groups):
    keys = split_named(key, "init", "first", "then")
    params = net.init(keys["init"], train["chosen"][:1])

    def one(params, weights):
      # One program for both halves of the training.
      stages = jnp.stack([keys["first"], keys["then"]])
      step = lambda params, x: (fit(x[0], params, train, x[1]), None)
      params = jax.lax.scan(step, params, (stages, weights))[0]
      return _measure(net, params, train, test, groups)

    return jax.vmap(one, (None, 0))(params, jnp.array([[0, 0], [0, beta]]))

  random = np.random.default_rng(seed)
  votes = (num_seeds, voters["num_groups"], voters["group_size"])
  data = (
      world.pairs(random, (num_seeds, num_pairs)),
      world.pairs(random, (num_seeds, num_test)),
      world.groups(random, votes, voters["right"]),
  )
  found = jax.device_get(
      jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds), *data)
  )
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
