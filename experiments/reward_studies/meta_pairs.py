"""A reward model that is kept apart where the policy has gone (MetaRM).

The criterion was fixed before the first run; measures at the moved parameters
came after it, to tell why the criterion was not met.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_studies import models, noisy_pairs
from experiments.reward_studies.beds import gold
from experiments.studies import NOTE, Curves, Study, mean_row, seed_keys
from rewardjax.core.random import split_named
from rewardjax.noise.preferences import symmetric
from rewardjax.recipes.noisy_pairs import meta_rm_params
from rewardjax.reward_models import spread
from rewardjax.training import intervals


def _answers(key, mean, shape):
  """Items of a policy that has moved to `mean`, which broadcasts to them."""
  noise = jax.random.normal(key, (*shape, mean.shape[-1]))
  return jnp.broadcast_to(mean, noise.shape) + noise


def _moved(model, params, answers, step_size):
  """Parameters that keep some answers further apart."""
  return meta_rm_params(
      lambda p: model.apply(p, answers), params, step_size=step_size
  )


def _meta_loss(model, step_size):
  """Pairs read at parameters that keep the rows' own answers apart."""
  plain = models.pair_loss(model.apply)
  return lambda params, batch, key: plain(
      _moved(model, params, batch["answers"], step_size), batch, key
  )


def _measures(key, truth, score, means, *, num_test, num_prompts, num_answers):
  """Accuracy, spread and std of a reward around each of `means`."""
  keys = split_named(key, "pairs", "answers")

  def around(mean):
    accuracy = noisy_pairs.held_out(keys["pairs"], truth, num_test, mean=mean)
    rewards = score(
        _answers(keys["answers"], mean, (num_prompts, num_answers))
    )
    return {
        "accuracy": accuracy(score),
        "spread": jnp.mean(spread.meta_difference(rewards)),
        "std": jnp.std(rewards),
    }

  return jax.vmap(around)(means)


def secrets_rm_meta(
    *, seed, num_seeds, dim, num_pairs, num_test, num_prompts, num_answers,
    width, flip_rate, shifts, moved, step_sizes, judged, **training,
) -> Study:
  """Accuracy and spread where a policy has moved, with and without the step.

  A policy that has moved by s has its mean s standard deviations from 0 in
  every coordinate, to sides drawn once a run. In training each pair brings
  `num_answers` unlabelled answers of a policy that has moved by a number
  drawn between the two of `moved`.

  Args:
    step_sizes: of the meta step, the first 0: plain training.
    judged: the one of `step_sizes` that the criterion is about.
  """
  model = models.scorer(dim, (width,))
  steps, away = jnp.asarray(step_sizes), jnp.asarray(shifts)
  sides = lambda key: jax.random.rademacher(
      jax.random.fold_in(key, 2), (dim,), jnp.float32
  )

  def train(key):
    keys = split_named(key, "truth", "pairs", "shifts", "answers", "fit")
    truth = gold.gold_model(keys["truth"], dim=dim)
    pairs = gold.compare(
        keys["pairs"], truth, num_pairs=num_pairs, rates=symmetric(flip_rate)
    )
    low, high = moved
    far = jax.random.uniform(
        keys["shifts"], (num_pairs, 1, 1), minval=low, maxval=high
    )
    rows = noisy_pairs.rows_of(pairs) | {
        "answers": _answers(
            keys["answers"], far * sides(key)[None, None],
            (num_pairs, num_answers),
        )
    }
    fit = lambda step_size: models.fit_scorer(
        keys["fit"], model, _meta_loss(model, step_size), rows, **training
    )
    params = jax.vmap(fit)(steps)
    there = jax.vmap(
        lambda p, step_size: _moved(model, p, rows["answers"], step_size)
    )(params, steps)
    both = jax.tree.map(lambda *x: jnp.concatenate(x), params, there)
    return truth, both

  def read(key, learned):
    truth, params = learned
    means = away[:, None] * sides(key)[None]
    of = lambda p: _measures(
        jax.random.fold_in(key, 1), truth, functools.partial(model.apply, p),
        means, num_test=num_test, num_prompts=num_prompts,
        num_answers=num_answers,
    )
    return jax.vmap(of)(params)

  found = models.in_two_stages(train, read, seed_keys(seed, num_seeds))
  return _report(found, shifts, step_sizes, judged)


def _report(found, shifts, step_sizes, judged) -> Study:
  """Of measures `[runs, step sizes, shifts]`, then at moved parameters."""
  found, there = (
      {k: x[:, part] for k, x in found.items()}
      for part in (slice(len(step_sizes)), slice(len(step_sizes), None))
  )
  arms = ["plain", *(f"meta step {x:g}" for x in step_sizes[1:])]
  # A reward that is merely larger everywhere is not more spread.
  kept = found["std"] / found["std"][..., :1]
  measured = {
      "accuracy": found["accuracy"],
      "spread": found["spread"],
      "std over that at shift 0": kept,
  }
  rows = [
      mean_row(arm, f"{name}, shift {shift:g}", x[:, i, j])
      for i, arm in enumerate(arms)
      for name, x in measured.items()
      for j, shift in enumerate(shifts)
  ]
  above = {name: x[:, 1:, -1] - x[:, :1, -1] for name, x in measured.items()}
  rows += [
      mean_row(f"{arm} less plain", f"{name}, shift {shifts[-1]:g}", x[:, i])
      for i, arm in enumerate(arms[1:])
      for name, x in above.items()
  ]
  rows += [
      mean_row(
          f"{arm} at the moved parameters, less plain",
          f"{name}, shift {shifts[-1]:g}",
          there[name][:, i, -1] - found[name][:, 0, -1],
      )
      for i, arm in enumerate(arms[1:], 1)
      for name in ("accuracy", "spread")
  ]
  index = step_sizes.index(judged) - 1
  passed = all(
      intervals.mean_interval(above[name][:, index]).low > 0
      for name in ("accuracy", "spread")
  )
  curves = lambda name: Curves(
      np.asarray(shifts),
      {arm: measured[name][:, i] for i, arm in enumerate(arms)},
      "how far the policy has moved, in std", name,
  )
  return Study(
      "MetaRM: a reward model kept apart where the policy has gone",
      f"Where the policy has moved by {shifts[-1]:g}, accuracy and spread with "
      f"a meta step of {judged:g} are above those of plain training: both "
      "paired intervals lie above 0",
      bool(passed),
      rows,
      {name.partition(" ")[0]: curves(name) for name in measured},
      f"{NOTE} Spread is the mean of sigmoid |difference| that the meta step "
      "raises; the std over that at shift 0 does not grow with the scale of "
      "the rewards.",
  )
