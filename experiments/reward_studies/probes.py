"""What a probe of reward models' features says of what they are good for."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from experiments.studies import Study, mean_row, seed_keys
from rewardjax.core import statistics
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.diagnostics import out_of_distribution, probing
from rewardjax.reward_models import fitting, pairwise
from rewardjax.search import selection


class Model(NamedTuple):
  """A narrow hidden layer, and a reward read off it."""

  hidden: Float[Array, "D H"]
  out: Float[Array, " H"]

  def features(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch H"]:
    """What a probe reads."""
    return jnp.tanh(x @ self.hidden)

  def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
    """The reward of each row."""
    return self.features(x) @ self.out


def _loss(model, batch, key) -> Mean:
  del key
  better, worse = batch
  return Mean.of(pairwise.pairwise_logistic(model(better) - model(worse)))


def _fit(key, taste, attributes, *, num_pairs, width, learning_rate, **fit):
  """A model of what somebody with that taste prefers."""
  keys = split_named(key, "x", "hidden", "out", "fit")
  size = attributes.shape[0]
  x = jax.random.normal(keys["x"], (2, num_pairs, size))
  worth = x @ attributes @ taste
  first = (worth[0] > worth[1])[:, None]
  data = jnp.where(first, x[0], x[1]), jnp.where(first, x[1], x[0])
  start = Model(
      0.1 * jax.random.normal(keys["hidden"], (size, width)),
      0.1 * jax.random.normal(keys["out"], (width,)),
  )
  return fitting.fit(
      keys["fit"], start, _loss, data,
      optimizer=optax.adam(learning_rate), **fit,
  ).params


def _probed(key, model, attributes, num_rows):
  """Mean accuracy over attributes, and centroids of the right rows of each."""
  x = jax.random.normal(key, (2, num_rows, attributes.shape[0]))
  features, labels = model.features(x), (x @ attributes > 0).astype(int)

  def one(train, test):
    weights = probing.linear_probe(features[0], train, num_classes=2)
    return probing.probe_score(weights, features[1], test).accuracy

  accuracy = jax.vmap(one, (1, 1))(labels[0], labels[1])
  # A row belongs to the attribute that it has most of.
  strongest = jnp.argmax(x[0] @ attributes, axis=-1)
  centroids = probing.class_centroids(
      features[0], strongest, num_groups=attributes.shape[1]
  )
  return jnp.mean(accuracy), centroids


def _near_and_all(key, model, attributes, centroids, num_pairs, tail):
  """Accuracy on pairs with odd answers: on all, and on the nearer half."""
  keys = split_named(key, "x", "odd")
  x = jax.random.normal(keys["x"], (2, num_pairs, attributes.shape[0]))
  odd = jax.random.bernoulli(keys["odd"], tail, (2, num_pairs, 1))
  x = jnp.where(odd, 2.5 * x, x)
  size = jnp.linalg.norm(x, axis=-1)
  worth = jnp.mean(x @ attributes, axis=-1)
  worth = worth - 0.5 * jnp.maximum(size - 5.5, 0.0)
  right = (model(x[0]) > model(x[1])) == (worth[0] > worth[1])
  distance = out_of_distribution.centroid_distance(
      model.features(x), centroids
  )
  distance = jnp.max(jnp.min(distance, axis=-1), axis=0)
  near = distance <= jnp.median(distance)
  right = right.astype(float)
  return jnp.sum(right * near) / jnp.sum(near), jnp.mean(right)


def mrmbench(
    *, seed, num_seeds, num_attributes, num_models, num_features, num_rows,
    num_prompts, num_samples, tail, least, **fit,
) -> Study:
  """Probes of models that were taught one, two or all attributes.

  Model m has learned the sum of m mod A + 1 of the A attributes; the gold of
  best-of-n is the mean of all.
  """
  number = np.arange(num_models) % num_attributes + 1
  tastes = np.zeros((num_models, num_attributes), np.float32)
  for m, many in enumerate(number):
    tastes[m, (m + np.arange(many)) % num_attributes] = 1

  def run(key):
    keys = split_named(key, "attributes", "fit", "probe", "best", "near")
    attributes = jax.random.normal(
        keys["attributes"], (num_features, num_attributes)
    )
    attributes /= jnp.linalg.norm(attributes, axis=0, keepdims=True)
    x = jax.random.normal(
        keys["best"], (num_prompts, num_samples, num_features)
    )
    worth = jnp.mean(x @ attributes, axis=-1)

    def one(key, taste):
      model = _fit(key, taste, attributes, **fit)
      accuracy, centroids = _probed(keys["probe"], model, attributes, num_rows)
      best = selection.best_of_n(model(x))[:, None]
      gained = jnp.mean(jnp.take_along_axis(worth, best, axis=1))
      near = _near_and_all(
          keys["near"], model, attributes, centroids, num_rows, tail
      )
      return accuracy, gained, *near

    each = jax.random.split(keys["fit"], num_models)
    probe, gained, near, whole = jax.vmap(one)(each, jnp.asarray(tastes))
    every = jnp.asarray(number == num_attributes)
    return {
        "probe and best-of-n": statistics.spearman(probe, gained),
        "near": jnp.mean(near, where=every),
        "all": jnp.mean(whole, where=every),
    }

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  rank = found["probe and best-of-n"]
  near, whole = found["near"], found["all"]
  return Study(
      "MRMBench: probes of features and what best-of-n gains",
      f"Rank correlation of probe and best-of-n over {num_models} models at "
      f"least {least:g}; pairs nearer to the centroids than the median are "
      "judged right more often",
      bool(np.mean(rank) >= least and np.mean(near) > np.mean(whole)),
      [
          mean_row("probe and best-of-n", "rank correlation", rank),
          mean_row("near half", "accuracy", near),
          mean_row("all pairs", "accuracy", whole),
      ],
      {},
  )
