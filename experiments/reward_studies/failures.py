"""Texts that a reward model gets wrong, found by letting it steer decoding."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.reward_studies.beds import tokens
from experiments.reward_studies.beds.tokens import Pairs, Texts
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.core import masking
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.diagnostics import comparisons
from rewardjax.reward_models import fitting, pairwise
from rewardjax.search import guided


def pair_loss(scorer: tokens.Scorer, batch, key) -> Mean:
  """Bradley-Terry on the pairs that count; batch: pairs, and which do."""
  del key
  pairs, counts = batch
  diff = scorer(pairs.chosen) - scorer(pairs.rejected)
  return Mean.of(pairwise.pairwise_logistic(diff, counts), counts)


def fit_scorer(key, data, *, width, learning_rate, **options):
  """A scorer fitted to pairs and which of them count, see `pair_loss`."""
  keys = split_named(key, "start", "fit")
  start = tokens.init_scorer(keys["start"], width=width)
  return fitting.fit(
      keys["fit"], start, pair_loss, data,
      optimizer=optax.adam(learning_rate), **options,
  ).params


def accuracy(scorer: tokens.Scorer, pairs: Pairs):
  """Of pairs that differ in gold."""
  right = comparisons.pairwise_accuracy(
      scorer(pairs.chosen), scorer(pairs.rejected), ties="half"
  )
  differ = tokens.gold(pairs.chosen) != tokens.gold(pairs.rejected)
  return masking.masked_mean(right, differ)


def _decode(key, scorer, num_texts, law, *, length, strength, sign, mixing):
  """Texts of one class of the base, steered by the reward of beginnings."""
  logits = jnp.broadcast_to(jnp.log(law), (num_texts, tokens.VOCAB_SIZE))

  def reward(rows, end):
    mask = jnp.broadcast_to(jnp.arange(length)[None] < end, rows.shape)
    return scorer(Texts(rows, mask))

  found = guided.reward_guided_decode(
      key, lambda rows, end: logits, reward, jnp.zeros((num_texts, 0), int),
      num_candidates=int(np.sum(law > 0)),
      max_new_tokens=length, strength=strength, sign=sign, mixing=mixing,
  )
  return Texts(found.tokens, found.mask)


def _augmented(key, scorer, pairs, laws, *, failures, **options):
  """Pairs behind the given ones: made low ones chosen, high ones rejected.

  Args:
    laws: of the better class and of the worse one.
    failures: whether only texts that the scorer gets wrong count.
  """
  keys = split_named(key, "low", "high")
  num = pairs.chosen.tokens.shape[0]
  low = _decode(keys["low"], scorer, num, laws[0], sign=-1, **options)
  high = _decode(keys["high"], scorer, num, laws[1], sign=1, **options)
  more = Pairs(
      jax.tree.map(lambda a, b: jnp.concatenate([a, b]), low, pairs.chosen),
      jax.tree.map(lambda a, b: jnp.concatenate([a, b]), pairs.rejected, high),
  )
  wrong = scorer(more.chosen) < scorer(more.rejected)
  kept = tokens.gold(more.chosen) > tokens.gold(more.rejected)
  used = kept & wrong if failures else kept
  return (more, used), jnp.mean(kept), jnp.mean(wrong)


def reform(
    *, seed, num_seeds, num_pairs, num_test, length, style, style_share,
    share, strength, temperature, gain, harm, kept, **fit,
) -> Study:
  """Pairs with swapped style, before and after training on found failures."""
  world = dict(length=length, quality=1.0, style_share=style_share)
  law = lambda good: np.asarray(
      tokens.token_law(
          jnp.asarray(good), jnp.asarray(style if good else 1 - style),
          style_share,
      )
  )
  laws = law(1.0), law(0.0)
  arms = {
      "random texts": dict(strength=0.0, mixing="logit", failures=False),
      "guided texts": dict(strength=strength, mixing="logit", failures=True),
      "released mixing": dict(
          strength=1 / temperature, mixing="probability", failures=True
      ),
  }
  few = round(share * num_pairs)

  def run(key):
    keys = split_named(key, "train", "clean", "swapped", "fit", "guide")
    train = tokens.draw_pairs(keys["train"], num_pairs, style=style, **world)
    tests = {
        "clean": tokens.draw_pairs(
            keys["clean"], num_test, style=style, **world
        ),
        "swapped": tokens.draw_pairs(
            keys["swapped"], num_test, style=1 - style, **world
        ),
    }
    every = jnp.ones(num_pairs, bool)
    first = fit_scorer(keys["fit"], (train, every), **fit)
    some = fitting.take(train, jnp.arange(few))
    more = [
        _augmented(keys["guide"], first, some, laws, length=length, **options)
        for options in arms.values()
    ]
    stacked, right, wrong = jax.tree.map(lambda *x: jnp.stack(x), *more)
    behind = lambda more: jax.tree.map(
        lambda a, b: jnp.concatenate([a, b]), (train, every), more
    )
    learn = lambda more: fit_scorer(keys["fit"], behind(more), **fit)
    learned = jax.vmap(learn)(stacked)
    scorers = {"before": first, **{
        name: fitting.take(learned, jnp.array(i))
        for i, name in enumerate(arms)
    }}
    facts = {
        name: {"class kept": right[i], "failures": wrong[i]}
        for i, name in enumerate(arms)
    }
    found = {
        name: {test: accuracy(scorer, x) for test, x in tests.items()}
        for name, scorer in scorers.items()
    }
    return found, facts

  found, facts = jax.device_get(
      jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds))
  )
  mean = {
      name: {test: np.mean(x) for test, x in tests.items()}
      for name, tests in found.items()
  }
  guided_, before = mean["guided texts"], mean["before"]
  passed = (
      guided_["swapped"] - mean["random texts"]["swapped"] >= gain
      and before["clean"] - guided_["clean"] <= harm
      and np.mean(facts["guided texts"]["class kept"]) >= kept
  )
  rows = [
      mean_row(name, f"accuracy, {test} style", x)
      for name, tests in found.items()
      for test, x in tests.items()
  ]
  rows += [
      mean_row(name, fact, x)
      for name, values in facts.items()
      for fact, x in values.items()
  ]
  return Study(
      "REFORM: training on failures that the reward model finds itself",
      f"With swapped style guided texts gain {gain:g} over random ones of the "
      f"same class, at most {harm:g} is lost with clean style, and {kept:g} "
      "of the texts keep their class",
      bool(passed),
      rows,
      {},
  )
