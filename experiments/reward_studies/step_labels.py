"""Labels of steps that were made by machine: how right, and what they teach."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_studies.beds import steps
from experiments.studies import Study, mean_row, seed_keys
from rewardjax.core import masking
from rewardjax.core.random import split_named
from rewardjax.diagnostics import sections
from rewardjax.noise.steps import StepTargets, balanced, denoise_step_labels

# What `learned` gives.
MEASURES = ("label accuracy", "F1 at 0.5", "F1 at its best threshold")


def learned(key, chains, labels: StepTargets, test, fit):
  """Label accuracy at 0.5, and F1 of a judge that learned the labels.

  Args:
    key: consumed.
    chains: with `features` and `right`.
    labels: what is said of their steps.
    test: chains to find first errors in.
    fit: of `steps.fit_judge`.

  Returns:
    Three numbers: label accuracy, F1 at 0.5, F1 at its best threshold.
  """
  said = (labels.targets >= 0.5) == chains.right
  accuracy = masking.masked_mean(said.astype(jnp.float32), labels.mask)
  judge = steps.fit_judge(key, (chains.features, *labels), **fit)
  p = jax.nn.sigmoid(judge(test.features))
  truth = sections.first_below(test.right.astype(float), threshold=0.5)

  def f1(threshold):
    found = sections.first_below(p, threshold=threshold)
    return sections.process_bench_f1(found, truth).f1

  best = jnp.max(jax.vmap(f1)(jnp.arange(1, 20) / 20))
  return jnp.stack([accuracy, f1(0.5), best])


def _scan_labels(keys, chains, *, num_answers, num_samples, wrong_rate, least):
  """Targets of every arm of `scan_prm`, by name."""
  values = steps.completed_values(
      keys["values"], chains, num_samples=num_samples, wrong_rate=wrong_rate
  )
  shape = num_answers, *chains.skill.shape
  answers = jax.random.bernoulli(
      keys["answers"], jnp.broadcast_to(chains.skill[None], shape)
  )
  confidence = jnp.mean(answers, axis=0)
  all_steps = jnp.ones(values.shape, bool)
  kept = jnp.broadcast_to((confidence >= least)[:, None], values.shape)

  def denoised(distance):
    found = denoise_step_labels(
        values, confidence, kept, chains.correct, distance=distance
    )
    usable = jnp.any(found.mask, axis=-1)
    both = balanced(chains.correct, usable)
    return found._replace(mask=found.mask & both[:, None])

  return {
      "any success": StepTargets((values > 0).astype(float), all_steps),
      "filter": denoised(0),
      "filter, all soft": denoised(values.shape[-1]),
      "SCAN": denoised(2),
      "truth": StepTargets(chains.right.astype(float), all_steps),
  }


def scan_prm(
    *, seed, num_seeds, num_problems, num_test, num_chain_steps, num_features,
    signal, skill, labels, margin, within, **fit,
) -> Study:
  """Labels from few completions, raw and denoised, and judges they make."""
  world = dict(
      num_steps=num_chain_steps, num_features=num_features, signal=signal,
      skill=tuple(skill),
  )

  def run(key):
    keys = split_named(key, "train", "test", "values", "answers", "fit")
    chains = steps.draw_chains(keys["train"], num_problems, **world)
    test = steps.draw_chains(keys["test"], num_test, **world)
    arms = _scan_labels(keys, chains, **labels)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *arms.values())
    learn = lambda arm: learned(keys["fit"], chains, arm, test, fit)
    found = jax.vmap(learn)(stacked)
    return dict(zip(arms, found))

  found = jax.device_get(jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds)))
  mean = {name: np.mean(x, axis=0) for name, x in found.items()}
  passed = (
      mean["SCAN"][0] >= mean["any success"][0] + margin
      and mean["SCAN"][1] >= mean["truth"][1] - within
  )
  return Study(
      "SCAN: step labels from few completions, denoised",
      f"Label accuracy of SCAN above that of any success by {margin:g}; F1 at "
      f"0.5 within {within:g} of that with true labels",
      bool(passed),
      [
          mean_row(name, metric, x[:, i])
          for i, metric in enumerate(MEASURES)
          for name, x in found.items()
      ],
      {},
  )
