"""What a judge of steps or of answers is worth as chains grow longer."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_studies.beds import steps
from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.diagnostics import agreement
from rewardjax.reward_models import process
from rewardjax.rewards.steps import aggregate_steps

_ARMS = ("product of steps", "least of steps", "outcome")


def _draw(key, length, num_chains, *, num_steps, num_features, signal):
  """Chains of `length` steps; only the first wrong step looks wrong.

  What follows an error follows from it: by itself it is as good as any.
  """
  keys = split_named(key, "errs", "first", "features")
  errs = jax.random.bernoulli(keys["errs"], 0.5, (num_chains,))
  place = jax.random.uniform(keys["first"], (num_chains,))
  first = jnp.where(errs, jnp.floor(place * length), num_steps)[:, None]
  places = jnp.arange(num_steps)[None]
  features = steps.step_features(
      keys["features"], places != first,
      num_features=num_features, signal=signal,
  )
  mask = jnp.broadcast_to(places < length, (num_chains, num_steps))
  return features, places < first, mask, ~errs


def _outcome_logits(judge, features, mask):
  """What the outcome model says after each step: a soft least of its steps."""
  z = jnp.where(mask, judge(features), jnp.inf)
  return -jax.lax.cumlogsumexp(-z, axis=1)


def _outcome_loss(judge, batch, key):
  del key
  features, correct, mask = batch
  logits = _outcome_logits(judge, features, mask)
  return Mean.of(process.orm_loss(logits, correct, mask))


def multi_rm(
    *, seed, num_seeds, lengths, flip_rates, num_train, num_test, num_features,
    signal, margin, **fit,
) -> Study:
  """AUROC of right chains, of judges that learned from noisy step labels.

  The outcome model learns from right answers, which are not noisy. The first
  and last of `lengths` and the last of `flip_rates` decide.
  """
  num_steps = max(lengths)
  world = dict(
      num_steps=num_steps, num_features=num_features, signal=signal
  )

  def run(key, length, flip_rate):
    keys = split_named(key, "train", "flips", "steps", "outcome", "test")
    features, right, mask, correct = _draw(
        keys["train"], length, num_train, **world
    )
    flips = jax.random.bernoulli(keys["flips"], flip_rate, right.shape)
    labels = right ^ flips
    judge = steps.fit_judge(
        keys["steps"],
        (features, labels.astype(float),
         process.mask_after_first_error(labels, mask)),
        **fit,
    )
    outcome = steps.fit_judge(
        keys["outcome"], (features, correct, mask), loss=_outcome_loss, **fit
    )
    features, _, mask, correct = _draw(
        keys["test"], length, num_test, **world
    )
    p = jax.nn.sigmoid(judge(features))
    last = _outcome_logits(outcome, features, mask)[:, -1]
    scores = (
        aggregate_steps(p, mask, how="prod"),
        aggregate_steps(p, mask, how="min"),
        last,
    )
    return jnp.stack([agreement.auroc(x, correct) for x in scores])

  cases = jnp.array(list(itertools.product(lengths, flip_rates)))
  over_cases = jax.vmap(run, (None, 0, 0))
  over_seeds = jax.jit(jax.vmap(over_cases, (0, None, None)))
  found = over_seeds(seed_keys(seed, num_seeds), *cases.T)
  found = np.asarray(found).reshape(
      num_seeds, len(lengths), len(flip_rates), len(_ARMS)
  )
  noisy = {name: found[:, :, -1, i] for i, name in enumerate(_ARMS)}
  lost = {k: np.mean(x[:, 0] - x[:, -1]) for k, x in noisy.items()}
  passed = lost["product of steps"] - lost["outcome"] >= margin
  rows = [
      mean_row(f"{name}, {length} steps, {rate:g} flipped", "AUROC",
               found[:, i, j, k])
      for k, name in enumerate(_ARMS)
      for j, rate in enumerate(flip_rates)
      for i, length in enumerate(lengths)
  ]
  return Study(
      "Judges of steps and of answers under noisy step labels",
      f"With {flip_rates[-1]:g} of the labels flipped the product of step "
      f"scores loses {margin:g} AUROC more than the outcome model from "
      f"{lengths[0]} to {lengths[-1]} steps",
      bool(passed),
      rows,
      {"AUROC": Curves(np.array(lengths), noisy, "steps", "AUROC")},
  )
