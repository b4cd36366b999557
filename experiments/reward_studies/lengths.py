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

  Then some of the pairs have their texts swapped; the rewards of the chosen
  texts find them.
  """
  length = world["length"]
  same = {**world, "longer": 0.5}

  def run(key):
    keys = split_named(key, "train", "test", "fit", "swap")
    train = _draw(keys["train"], num_pairs, longer=longer, **world)
    test = _draw(keys["test"], num_test, **same)
    every = jnp.ones(num_pairs, bool)
    size = lambda texts: jnp.sum(texts.mask, axis=-1)
    kept = filters.not_much_longer(
        size(train.chosen), size(train.rejected), max_ratio=max_ratio
    )

    def learn(pairs, counts):
      return _fit(keys["fit"], pairs, counts, length=length, **fit)

    found = {}
    for name, counts in {"all pairs": every, "filtered": kept}.items():
      scorer = learn(train, counts)
      right = scorer(test.chosen) > scorer(test.rejected)
      found[name] = {
          "correlation with length": _with_length(scorer, test),
          "accuracy, lengths alike": jnp.mean(right.astype(float)),
          "pairs kept": jnp.mean(counts.astype(float)),
      }
    swap = jax.random.bernoulli(keys["swap"], corrupted, (num_pairs,))
    pick = lambda a, b: jnp.where(swap[:, None], b, a)
    broken = Pairs(
        jax.tree.map(pick, train.chosen, train.rejected),
        jax.tree.map(pick, train.rejected, train.chosen),
    )
    rewards = learn(broken, every)(broken.chosen)
    out = ~filters.above_quantile(rewards, share=dropped)
    share = jnp.sum(swap & out) / jnp.sum(out)
    found["cleaning"] = {
        "corrupted rows among the dropped": share,
        "lift": share / jnp.mean(swap.astype(float)),
    }
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
      and mean["cleaning"]["lift"] >= lift
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
