"""What the papers on reward ensembles claim, where the true reward is known.

Each function maps the fields of its config to a `Study`; criteria were fixed
before the first run.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from experiments.reward_studies import models
from experiments.reward_studies.beds import gold
from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.core.random import split_named
from rewardjax.diagnostics import overoptimization
from rewardjax.noise.preferences import symmetric
from rewardjax.reward_models import ensembles


def rules(coefficient, std_coefficient=1.0):
  """How members become one reward, the weakest first."""
  return {
      "single": lambda members: members[..., 0],
      "mean": ensembles.mean,
      "worst case": ensembles.worst_case,
      "mean - k std": functools.partial(
          ensembles.mean_minus_std, coefficient=std_coefficient
      ),
      "mean - k variance": functools.partial(
          ensembles.mean_minus_variance, coefficient=coefficient
      ),
  }


class Proxy(NamedTuple):
  """A true reward, and members that learned it, with their scale."""

  truth: gold.Gold
  params: PyTree
  scale: ensembles.Scale


def network(dim, width, activation) -> models.Scorer:
  """With tanh rewards are bounded; with relu they grow without end."""
  return models.scorer(dim, (width,), getattr(nn, activation))


def train_members(
    key, *, dim, num_pairs, flip_rate, num_members, width, activation,
    **training,
) -> Proxy:
  """Members that saw the same noisy pairs, each in its own order."""
  keys = split_named(key, "truth", "pairs", "members", "reference")
  truth = gold.gold_model(keys["truth"], dim=dim)
  pairs = gold.compare(
      keys["pairs"], truth, num_pairs=num_pairs, rates=symmetric(flip_rate)
  )
  chosen, rejected = pairs.oriented()
  model = network(dim, width, activation)
  loss = models.pair_loss(model.apply)
  data = {"chosen": chosen, "rejected": rejected}
  params = ensembles.fit(
      keys["members"],
      model.init,
      lambda key, params: models.fit_scorer(
          key, model, loss, data, start=params, **training
      ),
      num_members=num_members,
  )
  reference = jax.random.normal(keys["reference"], (512, dim))
  scores = ensembles.predict(model.apply, params, reference)
  return Proxy(truth, params, ensembles.fit_scale(scores))


def members_of(proxy: Proxy, x, activation):
  """Standardised scores `[*batch, M]` of items `[*batch, D]`."""
  dim, width = proxy.params["params"]["Dense_0"]["kernel"].shape[1:]
  model = network(dim, width, activation)
  scores = ensembles.predict(model.apply, proxy.params, x)
  return ensembles.standardize(scores, proxy.scale)


def fall(curve) -> float:
  """By how much the mean over runs ends below its highest point."""
  mean = np.mean(curve, axis=0)
  return float(np.max(mean) - mean[-1])


def rm_ensembles(
    *, seed, num_seeds, tail, limit, num_prompts, num_candidates, sizes,
    coefficient, falls, holds, **training,
) -> Study:
  """Best-of-n by one reward model and by five, some candidates far out.

  `falls` is how far the single model has to fall from its peak, `holds` how
  far the careful rules may.
  """
  sizes = jnp.asarray(sizes)

  def read(key, proxy):
    x = gold.candidates(
        jax.random.fold_in(key, 1), (num_prompts, num_candidates),
        dim=training["dim"], tail=tail,
    )
    members = members_of(proxy, x, training["activation"])
    true = gold.value(proxy.truth, x, limit=limit)
    curve = lambda reward: jnp.mean(
        overoptimization.best_of_n_curve(reward, true, sizes), axis=0
    )
    return {k: curve(rule(members)) for k, rule in rules(coefficient).items()}

  train = lambda key: train_members(key, **training)
  found = models.in_two_stages(train, read, seed_keys(seed, num_seeds))
  last = {name: np.mean(curve[:, -1]) for name, curve in found.items()}
  careful = ("worst case", "mean - k variance")
  passed = (
      fall(found["single"]) >= falls
      and max(fall(found[name]) for name in careful) <= holds
      and last["worst case"] > last["mean"] > last["single"]
  )
  rows = [
      mean_row(name, f"n = {n}", curve[:, i])
      for name, curve in found.items()
      for i, n in enumerate(sizes.tolist())
  ]
  x = np.log2(sizes)
  return Study(
      "Ensembles against over-optimisation: best-of-n",
      f"The single model ends at least {falls:g} below its peak, worst case "
      f"and mean - k variance at most {holds:g}; at the largest n worst case "
      "> mean > single",
      bool(passed),
      rows,
      {"best of n": Curves(x, found, "log2 n", "true reward")},
  )
