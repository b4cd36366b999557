"""Studies of data: leaked prompts, wrong labels, small edits.

Each function maps the fields of its config to a `Study`; see `noise_verdicts`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import bandits as arms
from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.advantages import group
from rewardjax.core import probability, statistics
from rewardjax.core.masking import Mean
from rewardjax.diagnostics import sensitivity
from rewardjax.environments import bandits
from rewardjax.noise import neighbors
from rewardjax.objectives import policy_gradient
from rewardjax.rewards import variants

CLEAN, MEMORISED = 0, 1  # arms of a leaked prompt


def _leaked_logits(num_prompts, num_arms, clean, memorised):
  """Two arms of given chance, the rest alike."""
  rest = (1 - clean - memorised) / (num_arms - 2)
  row = jnp.full(num_arms, rest).at[CLEAN].set(clean)
  row = row.at[MEMORISED].set(memorised)
  return jnp.log(jnp.broadcast_to(row, (num_prompts, num_arms)))


def _reward(name, key, drawn):
  correct = drawn == CLEAN
  if name == "correct":
    return correct.astype(jnp.float32)
  if name == "inverted":
    return variants.inverted_reward(correct).value
  mask = jnp.ones(drawn.shape, bool)
  return variants.random_reward(key, mask, chance=0.5).value


def random_calculation(
    *,
    seed,
    num_seeds,
    num_prompts,
    num_arms,
    clean,
    memorised,
    group_size,
    num_steps,
    num_epochs,
    learning_rate,
    clip,
    improves,
) -> Study:
  """GRPO on prompts with a memorised answer, under rewards true and not.

  Fresh items have another right answer than the one memorised. "unclipped"
  differs by a clip that never binds.
  """
  methods = {
      "correct": ("correct", clip),
      "random": ("random", clip),
      "random, unclipped": ("random", 1e9),
      "inverted": ("inverted", clip),
  }

  def update(logits, drawn, before, advantages, clip_at):
    def loss(logits):
      shape = (*drawn.shape, num_arms)
      spread = jnp.broadcast_to(logits[:, None], shape)
      ratio = policy_gradient.token_ratio(
          probability.token_log_probs(spread, drawn), before
      )
      losses = policy_gradient.clipped_surrogate(
          ratio, advantages, clip_low=min(clip_at, 1.0), clip_high=clip_at
      )
      return Mean.of(losses).value * num_prompts

    return logits - learning_rate * jax.grad(loss)(logits)

  def run(name, clip_at, key):
    def step(logits, key):
      draw_key, reward_key = jax.random.split(key)
      uniforms = jax.random.uniform(draw_key, (num_prompts, group_size))
      drawn = bandits.draw_arms(uniforms, logits)
      advantages = group.standardized(_reward(name, reward_key, drawn))
      shape = (*drawn.shape, num_arms)
      spread = jnp.broadcast_to(logits[:, None], shape)
      before = probability.token_log_probs(spread, drawn)
      for _ in range(num_epochs):
        logits = update(logits, drawn, before, advantages, clip_at)
      chances = jnp.mean(jax.nn.softmax(logits), axis=0)
      return logits, chances[jnp.array([CLEAN, MEMORISED])]

    start = _leaked_logits(num_prompts, num_arms, clean, memorised)
    return jax.lax.scan(step, start, jax.random.split(key, num_steps))[1]

  keys = seed_keys(seed, num_seeds)
  found = {
      name: np.asarray(jax.jit(jax.vmap(functools.partial(run, *m)))(keys))
      for name, m in methods.items()
  }
  rows = []
  for name, x in found.items():
    rows.append(mean_row(name, "fresh accuracy", x[:, -1, 0]))
    rows.append(mean_row(name, "P(memorised answer)", x[:, -1, 1]))
  gain = {name: np.mean(x[:, -1, 0]) - clean for name, x in found.items()}
  others = [gain[name] for name in methods if name != "correct"]
  return Study(
      "Random calculation: rewards true and untrue on leaked prompts",
      f"Only the correct reward improves fresh items by more than {improves:g}",
      bool(gain["correct"] > improves and max(others) <= improves),
      rows,
      {
          "accuracy": Curves(
              np.arange(1, num_steps + 1),
              {name: x[:, :, 0] for name, x in found.items()},
              "step",
              "fresh accuracy",
              clean,
          )
      },
  )


def _blobs(key, centres, num, negatives):
  """Gaussian classes around `centres`; class 0 is the negative one."""
  class_key, kind_key, noise_key = jax.random.split(key, 3)
  num_classes, size = centres.shape
  positive = jax.random.randint(kind_key, (num,), 1, num_classes)
  negative = jax.random.uniform(class_key, (num,)) < negatives
  labels = jnp.where(negative, 0, positive)
  return centres[labels] + jax.random.normal(noise_key, (num, size)), labels


def _linear_classifier(x, labels, weights, *, num_classes, num_steps):
  """Softmax regression by plain gradient descent; returns the predictor."""
  x1 = lambda x: jnp.concatenate([x, jnp.ones((len(x), 1))], axis=1)

  def loss(w):
    losses = -probability.token_log_probs(x1(x) @ w, labels)
    return jnp.sum(losses * weights) / jnp.sum(weights)

  step = lambda w, _: (w - jax.grad(loss)(w), None)
  start = jnp.zeros((x.shape[1] + 1, num_classes))
  w, _ = jax.lax.scan(step, start, None, length=num_steps)
  return lambda x: jnp.argmax(x1(x) @ w, axis=1)


def tacred_noise(
    *,
    seed,
    num_seeds,
    num_train,
    num_test,
    num_classes,
    dimensions,
    distance,
    negatives,
    noise,
    k,
    num_steps,
    margin,
) -> Study:
  """A linear classifier on labels with hidden positives, repaired or not."""

  def run(key):
    keys = jax.random.split(key, 5)
    centres = jax.random.normal(keys[0], (num_classes, dimensions))
    centres = distance * centres / jnp.linalg.norm(
        centres, axis=1, keepdims=True
    )
    x, truth = _blobs(keys[1], centres, num_train, negatives)
    test_x, test = _blobs(keys[2], centres, num_test, negatives)
    hidden = (truth > 0) & (jax.random.uniform(keys[3], truth.shape) < noise)
    noisy = jnp.where(hidden, 0, truth)
    fit = functools.partial(
        _linear_classifier, num_classes=num_classes, num_steps=num_steps
    )
    every = jnp.ones(num_train)
    first = fit(x, noisy, every)
    found = neighbors.intrinsic(
        x, noisy, first(x), k=k, num_classes=num_classes
    )
    lots = jnp.argsort(jnp.argsort(jax.random.uniform(keys[4], noisy.shape)))
    random = (lots >= jnp.sum(found.suspicious)).astype(float)
    kept = neighbors.eliminate(found).astype(float)
    fixed = neighbors.reannotate(noisy, found)
    models = {
        "noisy": first,
        "eliminated": fit(x, noisy, kept),
        "reannotated": fit(x, fixed, every),
        "random elimination": fit(x, noisy, random),
        "clean": fit(x, truth, every),
    }
    f1 = {
        name: statistics.micro_f1(model(test_x), test, negative_class=0)
        for name, model in models.items()
    }
    hits = jnp.sum(found.suspicious & hidden)
    return f1, {
        "precision": hits / jnp.maximum(jnp.sum(found.suspicious), 1),
        "recall": hits / jnp.maximum(jnp.sum(hidden), 1),
    }

  f1, search = jax.device_get(
      jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds))
  )
  gap = np.mean(f1["eliminated"] - f1["random elimination"])
  rows = [mean_row(name, "micro-F1", x) for name, x in f1.items()]
  rows += [mean_row("intrinsic", name, x) for name, x in search.items()]
  return Study(
      "TACRED-like noise: hidden positives found by their neighbours",
      f"Elimination beats random elimination by more than {margin:g} F1",
      bool(gap > margin),
      rows,
      {},
  )


def small_edits(
    *,
    seed,
    num_seeds,
    num_tasks,
    num_answers,
    group_size,
    num_steps,
    learning_rate,
    high,
    low,
) -> Study:
  """A policy that may or may not learn to hear a flip.

  Three prompts of each task (original, harmless edit, flip) have logits of
  their own; answer 0 fits the original, answer 1 the flipped task.
  """
  flip = jnp.array([False, False, True])

  def run(differential, key):
    def step(logits, key):
      uniforms = jax.random.uniform(key, (num_tasks * 3, group_size))
      drawn = bandits.draw_arms(uniforms, logits.reshape(-1, num_answers))
      by_task = drawn.reshape(num_tasks, 3, group_size)
      original, changed = by_task == 0, by_task == 1
      paid = original.astype(jnp.float32)
      if differential:
        flips = jnp.broadcast_to(flip[None, :, None], original.shape)
        paid = sensitivity.differential_reward(original, changed, flips)
      advantages = group.leave_one_out(paid).reshape(drawn.shape)
      slope = jax.grad(arms.surrogate)(
          logits.reshape(-1, num_answers), drawn, advantages
      )
      logits -= learning_rate * slope.reshape(logits.shape)
      return logits, score(logits)

    start = jnp.zeros((num_tasks, 3, num_answers))
    keys = jax.random.split(key, num_steps)
    return jax.lax.scan(step, start, keys)[1]

  def score(logits):
    best = jnp.argmax(logits, axis=-1)
    shape = best.shape
    found = sensitivity.scores(
        sensitivity.Outcomes(
            best == 0,
            best == 1,
            jnp.broadcast_to(flip[None], shape),
            jnp.zeros(shape, int),
            jnp.ones(shape, bool),
        )
    )
    return jnp.stack([found.differential, found.adapt, found.stale])

  keys = seed_keys(seed, num_seeds)
  found = {
      name: np.asarray(
          jax.jit(jax.vmap(functools.partial(run, paid)))(keys)
      )
      for name, paid in (("plain", False), ("differential", True))
  }
  metrics = ("differential sensitivity", "adapt", "stale")
  last = {name: np.mean(x[:, -1, 0]) for name, x in found.items()}
  return Study(
      "Small edits: what a reward teaches about a flip",
      f"Differential sensitivity above {high:g} with the differential reward, "
      f"below {low:g} with the plain one",
      bool(last["differential"] > high and last["plain"] < low),
      [
          mean_row(name, metric, x[:, -1, i])
          for name, x in found.items()
          for i, metric in enumerate(metrics)
      ],
      {
          "sensitivity": Curves(
              np.arange(1, num_steps + 1),
              {name: x[:, :, 0] for name, x in found.items()},
              "step",
              "differential sensitivity",
          )
      },
  )
