"""What the papers on the form of a reward model and of its loss claim.

Each function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_studies import models
from experiments.reward_studies.beds import gold
from experiments.studies import NOTE, Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.models.interpolation import extrapolate
from rewardjax.noise.preferences import symmetric
from rewardjax.reward_models.pairwise import pairwise_logistic, zero_penalty


def helpsteer2_preference(
    *, seed, num_seeds, dim, num_pairs, num_test, width, noise, factors,
    near, wins, second_steps, **training,
) -> Study:
  """Ratings or preferences of the same items, and one after the other.

  `noise` is the std of what raters add to a reward. Regression then scaled
  Bradley-Terry has to come within `near` of the best.
  """
  model = models.scorer(dim, (width,))
  loss = models.pair_loss(model.apply, margin="margin", weight="weight")

  def regression(params, batch, key):
    del key
    errors = [
        jnp.square(model.apply(params, batch[x]) - batch[f"{x} rating"])
        for x in ("chosen", "rejected")
    ]
    return Mean.of(sum(errors))

  def train(key):
    keys = split_named(key, "truth", "pairs", "first", "second", "said", "fit")
    truth = gold.gold_model(keys["truth"], dim=dim)
    pairs = gold.compare(keys["pairs"], truth, num_pairs=num_pairs)
    said = pairs.gap + noise * jax.random.normal(keys["said"], (num_pairs,))
    strength = gold.strengths(keys["said"], said, noise=0.0)
    chosen, rejected = pairs._replace(
        label=(said > 0).astype(jnp.float32)
    ).oriented()
    rate = lambda name, x: gold.ratings(
        keys[name], gold.value(truth, x), noise=noise
    ) - 2.0  # the middle of 0 .. 4: rewards are centred
    rows = {
        "chosen": chosen,
        "rejected": rejected,
        "chosen rating": rate("first", chosen),
        "rejected rating": rate("second", rejected),
    }
    ones = jnp.ones(num_pairs)
    forms = {
        "margin": jnp.stack([0 * ones, strength, 0 * ones]),
        "weight": jnp.stack([ones, ones, strength]),
    }
    fit = lambda loss, rows, **more: models.fit_scorer(
        keys["fit"], model, loss, rows, **training | more
    )
    rated = fit(regression, rows)
    compared = jax.vmap(lambda form: fit(loss, rows | form))(forms)
    scaled = jax.tree.map(lambda x: x[2], forms)
    both = fit(loss, rows | scaled, start=rated, num_steps=second_steps)
    further = [extrapolate(rated, both, factor=a) for a in factors]
    stack = lambda *x: jnp.stack(x)
    rest = jax.tree.map(stack, rated, both, *further)
    return truth, jax.tree.map(
        lambda a, b: jnp.concatenate([a, b]), compared, rest
    )

  def read(key, learned):
    truth, params = learned
    test = gold.compare(jax.random.fold_in(key, 1), truth, num_pairs=num_test)
    of = lambda p: gold.accuracy(
        model.apply(p, test.first) - model.apply(p, test.second), test.gap
    )
    return jax.vmap(of)(params)

  found = models.in_two_stages(train, read, seed_keys(seed, num_seeds))
  names = ("Bradley-Terry", "margin", "scaled", "regression",
           "regression, then scaled", *(f"beyond, {a:g}" for a in factors))
  found = dict(zip(names, found.T))
  mean = {k: np.mean(x) for k, x in found.items()}
  better = np.sum(found["scaled"] >= found["Bradley-Terry"])
  passed = (
      better >= wins
      and mean["regression, then scaled"] >= max(mean.values()) - near
  )
  return Study(
      "HelpSteer2-Preference: ratings, preferences, and both",
      f"Scaled Bradley-Terry is not below Bradley-Terry in at least {wins} "
      f"runs; regression, then scaled comes within {near:g} of the best",
      bool(passed),
      [mean_row(k, "accuracy", x) for k, x in found.items()],
      {},
      f"{NOTE} `beyond` goes further along the way from the regression to the "
      "model that followed it.",
  )


_HEADS = {
    "1 layer": ((), nn.silu, 0.0),
    "2 layers, silu": ((64,), nn.silu, 0.0),
    "2 layers, tanh": ((64,), nn.tanh, 0.0),
    "5 layers, silu": ((64,) * 4, nn.silu, 0.0),
    "2 layers, silu, to zero": ((64,), nn.silu, 0.1),
}


def basereward(
    *, seed, num_seeds, dim, num_features, sizes, flip_rate, num_test,
    heads, **training,
) -> Study:
  """Heads on a frozen encoder, for few and for many noisy pairs."""
  scorers = {
      name: models.scorer(num_features, _HEADS[name][0], _HEADS[name][1])
      for name in heads
  }

  def loss_of(name):
    def loss(params, batch, key):
      del key
      chosen, rejected = (
          scorers[name].apply(params, batch[k]) for k in ("chosen", "rejected")
      )
      pull = _HEADS[name][2] * zero_penalty(chosen, rejected)
      return Mean.of(pairwise_logistic(chosen - rejected) + pull)

    return loss

  def encoder(key):
    keys = split_named(key, "kernel", "bias")
    kernel = jax.random.normal(keys["kernel"], (dim, num_features)) * dim**-0.5
    bias = 0.5 * jax.random.normal(keys["bias"], (num_features,))
    return lambda x: jnp.tanh(models.affine(x, kernel, bias))

  def train(key):
    keys = split_named(key, "truth", "pairs", "fit", "encoder")
    truth = gold.gold_model(keys["truth"], dim=dim)
    pairs = gold.compare(
        keys["pairs"], truth, num_pairs=max(sizes), rates=symmetric(flip_rate)
    )
    features = encoder(keys["encoder"])
    rows = dict(zip(("chosen", "rejected"), map(features, pairs.oriented())))
    # Few pairs are the first ones, over and over: shapes are the same.
    index = jnp.stack([jnp.arange(max(sizes)) % n for n in sizes])
    fit = lambda name: jax.vmap(
        lambda at: models.fit_scorer(
            keys["fit"], scorers[name], loss_of(name),
            jax.tree.map(lambda x: x[at], rows), **training,
        )
    )(index)
    return truth, {name: fit(name) for name in heads}

  def read(key, learned):
    truth, params = learned
    features = encoder(split_named(
        key, "truth", "pairs", "fit", "encoder"
    )["encoder"])
    test = gold.compare(jax.random.fold_in(key, 1), truth, num_pairs=num_test)
    first, second = features(test.first), features(test.second)
    of = lambda apply: lambda p: gold.accuracy(
        apply(p, first) - apply(p, second), test.gap
    )
    return {
        name: jax.vmap(of(scorers[name].apply))(p)
        for name, p in params.items()
    }

  found = models.in_two_stages(train, read, seed_keys(seed, num_seeds))
  many = {name: np.mean(x[:, -1]) for name, x in found.items()}
  two, pulled = "2 layers, silu", "2 layers, silu, to zero"
  passed = (
      many[two] >= many["1 layer"]
      and np.all(np.mean(found[pulled], 0) <= np.mean(found[two], 0))
  )
  return Study(
      "BaseReward: heads on frozen features",
      f"With {sizes[-1]} pairs two layers (silu) are not below one; a pull of "
      "rewards to zero helps with neither number of pairs",
      bool(passed),
      [
          mean_row(name, f"{n} pairs", x[:, i])
          for name, x in found.items()
          for i, n in enumerate(sizes)
      ],
      {},
      f"{NOTE} Accuracy on held-out pairs whose labels are right.",
  )
