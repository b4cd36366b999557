"""A reward model that may learn to count, and data without that lesson."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments.reward_studies.beds import tokens
from experiments.reward_studies.beds.tokens import Pairs
from experiments.reward_studies.failures import pair_loss
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.core.random import split_named
from rewardjax.models import pooling
from rewardjax.noise import filters
from rewardjax.reward_models import fitting


class PlacedScorer(NamedTuple):
  """w . mean_t h_t, h_t of a token and its place, which tells length."""

  token: Float[Array, "V H"]
  place: Float[Array, "T H"]
  out: Float[Array, " H"]

  def __call__(self, texts):
    """The reward of each text."""
    places = self.place.reshape((1,) * (texts.tokens.ndim - 1)
                                + self.place.shape)
    hidden = jnp.tanh(self.token[texts.tokens] + places)
    return pooling.mean(hidden, texts.mask) @ self.out


def _draw(key, num_pairs, *, length, shortest, quality, longer):
  """Pairs of a better writer and a worse one, who is the one that is rejected.

  With chance `longer` the better one's text is the longer of the two.
  """
  keys = split_named(key, "lengths", "which", "first", "second")
  drawn = jax.random.randint(
      keys["lengths"], (num_pairs, 2), shortest, length + 1
  )
  drawn = jnp.sort(drawn, axis=-1)
  good = jax.random.bernoulli(keys["which"], longer, (num_pairs,))
  lengths = jnp.where(good[:, None], drawn[:, ::-1], drawn)
  law = lambda q: jnp.broadcast_to(
      tokens.token_law(jnp.asarray(q), jnp.asarray(0.5), 0.2),
      (num_pairs, tokens.VOCAB_SIZE),
  )
  text = lambda name, q, n: tokens.draw_texts(
      keys[name], law(q), length=length, lengths=n
  )
  return Pairs(
      text("first", quality, lengths[:, 0]),
      text("second", 1 - quality, lengths[:, 1]),
  )


def _fit(key, pairs, counts, *, length, width, learning_rate, **options):
  keys = split_named(key, "token", "place", "fit")
  start = PlacedScorer(
      jax.random.normal(keys["token"], (tokens.VOCAB_SIZE, width)),
      jax.random.normal(keys["place"], (length, width)),
      jnp.zeros(width),
  )
  return fitting.fit(
      keys["fit"], start, pair_loss, (pairs, counts),
      optimizer=optax.adam(learning_rate), **options,
  ).params


def _with_length(scorer, pairs):
  """Correlation of reward and length over both texts of all pairs."""
  both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *pairs)
  sizes = jnp.sum(both.mask, axis=-1).astype(float)
  return jnp.corrcoef(scorer(both), sizes)[0, 1]


def ixc_reward(
    *, seed, num_seeds, num_pairs, num_test, world, longer, max_ratio,
    corrupted, dropped, lift, **fit,
) -> Study:
  """Length that goes with the label, with and without the filter of lengths.

  In the last arm some of the pairs have their texts swapped; the rewards of
  the chosen texts are to find them.
  """
  length = world["length"]
  same = {**world, "longer": 0.5}

  def run(key):
    keys = split_named(key, "train", "test", "fit", "swap")
    train = _draw(keys["train"], num_pairs, longer=longer, **world)
    test = _draw(keys["test"], num_test, **same)
    size = lambda texts: jnp.sum(texts.mask, axis=-1)
    kept = lambda a, b: filters.not_much_longer(
        size(a), size(b), max_ratio=max_ratio
    )
    chosen, rejected = train
    swap = jax.random.bernoulli(keys["swap"], corrupted, (num_pairs,))
    pick = lambda a, b: jnp.where(swap[:, None], b, a)
    broken = Pairs(
        jax.tree.map(pick, chosen, rejected),
        jax.tree.map(pick, rejected, chosen),
    )
    every = jnp.ones(num_pairs, bool)
    arms = {
        "all pairs": (train, every),
        "filtered": (train, kept(chosen, rejected)),
        "filtered both ways": (
            train, kept(chosen, rejected) & kept(rejected, chosen)
        ),
        "corrupted": (broken, every),
    }
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *arms.values())

    def one(pairs, counts):
      scorer = _fit(keys["fit"], pairs, counts, length=length, **fit)
      right = scorer(test.chosen) > scorer(test.rejected)
      rewards = scorer(pairs.chosen)
      out = ~filters.above_quantile(rewards, share=dropped)
      return {
          "correlation with length": _with_length(scorer, test),
          "accuracy, lengths alike": jnp.mean(right.astype(float)),
          "pairs kept": jnp.mean(counts.astype(float)),
          "corrupted among the dropped": jnp.sum(swap & out) / jnp.sum(out),
      }

    found = jax.vmap(one)(*stacked)
    found = {
        name: {k: x[i] for k, x in found.items()} for i, name in enumerate(arms)
    }
    # Only where they are there to be found.
    share = "corrupted among the dropped"
    for name in list(arms)[:3]:
      del found[name][share]
    found["corrupted"]["lift"] = found["corrupted"][share] / jnp.mean(
        swap.astype(float)
    )
    return found

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  mean = {
      name: {k: float(np.mean(x)) for k, x in values.items()}
      for name, values in found.items()
  }
  before, after = mean["all pairs"], mean["filtered"]
  link, right = "correlation with length", "accuracy, lengths alike"
  passed = (
      abs(after[link]) <= abs(before[link]) / 2
      and after[right] > before[right]
      and mean["corrupted"]["lift"] >= lift
  )
  return Study(
      "IXC-2.5-Reward: pairs in which longer is not better, and cleaning",
      "The filter halves the correlation of reward and length and raises "
      f"accuracy where lengths are alike; among the lowest {dropped:g} of the "
      f"rewards corrupted rows are {lift:g} times as frequent",
      bool(passed),
      [
          mean_row(name, metric, x)
          for name, values in found.items()
          for metric, x in values.items()
      ],
      {},
  )
