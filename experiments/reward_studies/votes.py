"""Judges of pairs that may be asked several times."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_studies.beds import tokens
from experiments.reward_studies.failures import fit_scorer
from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.core.random import split_named
from rewardjax.diagnostics import comparisons


def _vote(key, scorer, pairs, *, num_votes, sharpness, bias):
  """Whether each of K judgements of each pair is right `[N, K]`.

  A judge prefers what its scores say, by chance and by the place of an
  answer, which is drawn anew for every judgement.
  """
  keys = split_named(key, "order", "says")
  diff = scorer(pairs.chosen) - scorer(pairs.rejected)
  shape = (*diff.shape, num_votes)
  first = jax.random.bernoulli(keys["order"], 0.5, shape)
  lead = jnp.where(first, bias, -bias)
  chance = jax.nn.sigmoid(sharpness * diff[:, None] + lead)
  return jax.random.bernoulli(keys["says"], chance)


def vl_rewardbench(
    *, seed, num_seeds, num_pairs, num_test, length, quality, style,
    style_share, num_votes, sharpness, bias, gain, **fit,
) -> Study:
  """Majorities of K judgements, of a judge that is right or wrong more often.

  The first judge has learned from pairs where style goes with the label, and
  meets pairs where it goes against it; the second has learned from pairs
  where style says nothing.
  """
  world = dict(length=length, quality=quality, style_share=style_share)
  draw = lambda key, num, style: tokens.draw_pairs(
      key, num, style=style, **world
  )
  sizes = np.arange(1, num_votes + 1, 2)

  def run(key):
    keys = split_named(key, "misled", "taught", "test", "fit", "votes")
    test = draw(keys["test"], num_test, 1 - style)
    every = jnp.ones(num_pairs, bool)

    def curve(pairs):
      scorer = fit_scorer(keys["fit"], (pairs, every), **fit)
      right = _vote(
          keys["votes"], scorer, test,
          num_votes=num_votes, sharpness=sharpness, bias=bias,
      )
      vote = lambda k: jnp.mean(comparisons.vote_correct(right[:, :k]))
      return jnp.stack([vote(int(k)) for k in sizes])

    arms = draw(keys["misled"], num_pairs, style), draw(
        keys["taught"], num_pairs, 0.5
    )
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), *arms)
    return jax.vmap(curve)(both)

  found = np.asarray(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  lines = {"misled": found[:, 0], "taught": found[:, 1]}
  first = {name: np.mean(x[:, 0]) for name, x in lines.items()}
  last = {name: np.mean(x[:, -1]) for name, x in lines.items()}
  passed = (
      last["taught"] > first["taught"] > 0.5
      and last["misled"] < first["misled"] < 0.5
      and first["taught"] - first["misled"] >= gain
  )
  return Study(
      "VL-RewardBench: votes of two judges",
      f"With {sizes[-1]} votes the judge above a half gains, the one below "
      f"loses; training on other pairs gains {gain:g} with one vote",
      bool(passed),
      [
          mean_row(name, f"accuracy, {size} votes", x[:, i])
          for name, x in lines.items()
          for i, size in enumerate(sizes)
      ],
      {"accuracy": Curves(sizes, lines, "votes", "accuracy")},
      "Judges are small scorers of token texts with a liking for one place, "
      "not models of images. Means over seeds with 95 % Student-t intervals.",
  )
