"""Which correction helps against which noise of preference labels.

Every method that needs a rate is told the true one. The criterion was fixed
before the first run.
"""

import functools

import jax
import jax.numpy as jnp

from experiments.reward_studies import models
from experiments.reward_studies.beds import gold
from experiments.reward_studies.noisy_pairs import (
    PEER,
    PLAIN,
    held_out,
    rows_of,
    strength_of,
    train_two,
)
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.core import links
from rewardjax.core.masking import Mean
from rewardjax.core.random import split_named
from rewardjax.noise import preferences, selection
from rewardjax.reward_models.pairwise import pairwise_logistic
from rewardjax.types import NoiseRates

# Name, form of the loss, treatment of the pair.
_ARMS = (
    ("label smoothing", 0, "smoothing"),
    ("forward-corrected", 1, "plain"),
    ("backward-corrected", 2, "plain"),
    ("robust loss", 3, "plain"),
    ("strength: flip", 0, "flip"),
    ("strength: soft label", 0, "soft"),
    ("strength: drop", 0, "drop"),
)


def noise_rates(num_pairs):
  """Error rates of every pair under each kind of noise."""
  even = jnp.ones(num_pairs)
  source = jnp.where(jnp.arange(num_pairs) % 2 == 0, 0.05, 0.45)
  kinds = {
      "clean": (0.0 * even, 0.0 * even),
      "20 % flipped": (0.2 * even, 0.2 * even),
      "40 % flipped": (0.4 * even, 0.4 * even),
      "40 % and 10 %": (0.4 * even, 0.1 * even),
      "sources 5 %, 45 %": (source, source),
      "50 % flipped": (0.5 * even, 0.5 * even),
  }
  stack = lambda i: jnp.stack([x[i] for x in kinds.values()])
  return tuple(kinds), NoiseRates(stack(0), stack(1))


def _make_loss(apply):
  """Loss of a row by its `form`; differences are chosen minus rejected."""

  def loss(params, batch, key):
    del key
    diff = apply(params, batch["chosen"]) - apply(params, batch["rejected"])
    label, rates = batch["label"], batch["rates"]
    first = jnp.where(label > 0.5, diff, -diff)  # first minus second
    losses = jax.lax.switch(
        batch["form"][0],
        [
            lambda: pairwise_logistic(
                diff, target=batch["target"], weight=batch["weight"]
            ),
            lambda: preferences.forward_loss(first, label, rates),
            lambda: preferences.backward_loss(first, label, rates),
            lambda: links.sigmoid(diff),
        ],
    )
    return Mean.of(losses)

  return loss


def _treated(strength, share):
  """Target and weight of every pair, by the name of the treatment."""
  treat = functools.partial(selection.quantile_relabel, strength)
  plain = treat()
  return {
      "plain": plain,
      "smoothing": plain._replace(target=plain.target - 0.1),
      "flip": treat(flip=share),
      "soft": plain._replace(target=jax.nn.sigmoid(strength)),
      "drop": treat(drop=share),
  }


def _stacked(rows, treated, num_pairs):
  """Rows of every arm, `[A, N, ...]`."""
  form = jnp.asarray([arm[1] for arm in _ARMS])[:, None]
  pick = lambda field: jnp.stack(
      [getattr(treated[arm[2]], field) for arm in _ARMS]
  )
  wide = lambda x: jnp.broadcast_to(x, (len(_ARMS), *x.shape))
  return jax.tree.map(wide, rows) | {
      "form": jnp.broadcast_to(form, (len(_ARMS), num_pairs)),
      "target": pick("target"),
      "weight": pick("weight"),
  }


def preference_noise(
    *, seed, num_seeds, dim, num_pairs, num_test, width, num_members,
    brief_steps, num_epochs, warmup, batch_size, learning_rate, gain,
    source_gain, near,
) -> Study:
  """Accuracy on clean pairs of every method under every kind of noise.

  `gain` is what selection has to add to plain Bradley-Terry at 40 %,
  `source_gain` what the forward correction has to add with two sources, and
  `near` how close to chance everything stays at 50 %.
  """
  model = models.scorer(dim, (width,))
  kinds, table = noise_rates(num_pairs)
  options = dict(
      batch_size=batch_size, learning_rate=learning_rate,
      num_steps=num_epochs * (num_pairs // batch_size),
  )
  twins = dict(
      model=model, num_epochs=num_epochs, batch_size=batch_size,
      warmup=warmup, learning_rate=learning_rate,
  )

  def train(key):
    keys = split_named(key, "truth", "pairs", "members", "final", "two")
    truth = gold.gold_model(keys["truth"], dim=dim)

    def one(rates):
      pairs = gold.compare(
          keys["pairs"], truth, num_pairs=num_pairs, rates=rates
      )
      rows = rows_of(pairs)
      share = jnp.mean(rates.false_positive + rates.false_negative) / 2
      strength = strength_of(
          keys["members"], model, rows, num_members=num_members,
          brief_steps=brief_steps, **options,
      )
      arms = _stacked(
          rows | {"label": pairs.label, "rates": rates},
          _treated(strength, share), num_pairs,
      )
      fit = lambda rows: models.fit_scorer(
          keys["final"], model, _make_loss(model.apply), rows, **options
      )
      two = lambda arm: train_two(keys["two"], rows, arm, share, **twins)
      return jax.vmap(fit)(arms), jax.vmap(two)(jnp.array([PLAIN, PEER]))

    return truth, jax.vmap(one)(table)

  def read(key, learned):
    truth, singles, pairs = learned[0], *learned[1]
    accuracy = held_out(jax.random.fold_in(key, 1), truth, num_test)
    of = lambda p: accuracy(lambda x: model.apply(p, x))
    both = lambda p: accuracy(
        lambda x: jnp.mean(jax.vmap(model.apply, (0, None))(p, x), axis=0)
    )
    first = jax.tree.map(lambda x: x[:, 0, 0], pairs)
    return (
        jax.vmap(of)(first), jax.vmap(jax.vmap(both))(pairs),
        jax.vmap(jax.vmap(of))(singles),
    )

  plain, two, singles = models.in_two_stages(
      train, read, seed_keys(seed, num_seeds)
  )
  found = {"Bradley-Terry": plain, "two, averaged": two[..., 0]}
  found |= {arm[0]: singles[..., i] for i, arm in enumerate(_ARMS)}
  found["co-teaching"] = two[..., 1]
  return _report(found, kinds, gain, source_gain, near)


def _report(found, kinds, gain, source_gain, near) -> Study:
  mean = {name: dict(zip(kinds, x.mean(0))) for name, x in found.items()}
  plain = mean["Bradley-Terry"]
  passed = (
      min(
          mean[name]["40 % flipped"]
          for name in ("co-teaching", "strength: flip")
      ) >= plain["40 % flipped"] + gain
      and mean["forward-corrected"]["sources 5 %, 45 %"]
      >= plain["sources 5 %, 45 %"] + source_gain
      and max(abs(x["50 % flipped"] - 0.5) for x in mean.values()) <= near
  )
  return Study(
      "Preference labels that lie: method by kind of noise",
      "At 40 % co-teaching and turning weak pairs add at least "
      f"{gain:g} to Bradley-Terry; with two sources the forward correction "
      f"adds at least {source_gain:g}; at 50 % all stay within {near:g} of "
      "chance",
      bool(passed),
      [
          mean_row(name, kind, x[:, i])
          for name, x in found.items()
          for i, kind in enumerate(kinds)
      ],
      {},
      "Accuracy on 2000 clean pairs, means over seeds with 95 % Student-t "
      "intervals.",
  )
