"""Error rates x corrections x normalisations, thousands of runs at once.

Two worlds: "constant" gives all prompts one pair of rates and a policy of
their own; in "mixed" prompts share one policy, and half of them are judged
without error. Expected gradients are exact, of the starting policy.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import bandits as arms
from experiments.studies import Maps, Study, mean_row, seed_keys
from rewardjax.environments import bandits
from rewardjax.types import NoiseRates

_LINEAR = ("none", "centered", "leave_one_out")


def _name(correction, normalization):
  correction = "raw" if correction == "none" else correction
  return f"{correction}, " + (
      "no baseline" if normalization == "none" else normalization
  )


def _make_world(name, rates, key, sizes):
  num = {k: sizes[k] for k in ("num_prompts", "num_arms")}
  if name == "constant":
    return bandits.one_right_arm(key, rates, **num)
  return bandits.two_verifiers(rates, worth=sizes["worth"], **num)


def _accuracy(name, world, logits):
  """Softmax mass on right arms; in "mixed", on the arm worth most."""
  right = world.correct if name == "constant" else world.correct[1:2]
  return jnp.mean(bandits.expected_reward(logits, right))


def _learn(name, key, rates, methods, sizes):
  """Final exact accuracies `[M]` of one seed at one pair of rates."""
  world_key, learn_key = jax.random.split(key)
  world = _make_world(name, rates, world_key, sizes["learn"])
  options = ("num_steps", "group_size", "learning_rate")
  logits, _ = arms.learn(
      learn_key, world, methods, **{k: sizes["learn"][k] for k in options}
  )
  return jax.vmap(lambda x: _accuracy(name, world, x))(logits)


def _exact(name, key, rates, methods, sizes):
  """Cosine and scale `[M]` of expected against exact gradients."""
  world = _make_world(name, rates, key, sizes["exact"])
  target = arms.exact_gradient(world, world.logits).ravel()
  expected = arms.expected_gradients(
      world, world.logits, methods, group_size=sizes["exact"]["group_size"]
  ).reshape(len(methods), -1)
  along = expected @ target
  norms = jnp.linalg.norm(expected, axis=-1) * jnp.linalg.norm(target)
  return along / jnp.maximum(norms, 1e-30), along / jnp.sum(target**2)


def _run_all(keys, rates, *, methods, worlds):
  """Every run of the sweep: accuracy `[seeds, rates, M]`, cosine, scale."""

  def one(name, sizes):
    run = lambda key, rates: _learn(name, key, rates, methods, sizes)
    exact = lambda rates: _exact(name, keys[0], rates, methods, sizes)
    over_rates = jax.vmap(run, (None, 0))
    accuracy = jax.vmap(over_rates, (0, None))(keys, rates)
    # Mapped, not vmapped: each lists many outcomes.
    return accuracy, *jax.lax.map(exact, rates)

  return {name: one(name, sizes) for name, sizes in worlds.items()}


def sweep(
    *,
    seed,
    num_seeds,
    false_positive,
    false_negative,
    corrections,
    normalizations,
    constant,
    mixed,
    tolerance,
    gain,
) -> Study:
  """Final accuracy and exact gradient bias over a grid of error rates."""
  pairs = list(itertools.product(corrections, normalizations))
  names = [_name(*pair) for pair in pairs]
  methods = [arms.make_method(*pair) for pair in pairs]
  grid = [np.ravel(x) for x in np.meshgrid(false_positive, false_negative)]
  run = jax.jit(
      functools.partial(
          _run_all,
          methods=methods,
          worlds={"constant": constant, "mixed": mixed},
      )
  )
  found = jax.device_get(
      run(seed_keys(seed, num_seeds), NoiseRates(*map(jnp.asarray, grid)))
  )
  rows = _rows(found, names, grid)
  passed, criterion = _judge(found, names, tolerance, gain)
  size = (len(false_negative), len(false_positive))
  runs = sum(accuracy.size for accuracy, *_ in found.values())
  return Study(
      "Sweep: error rates x corrections x normalisations",
      criterion,
      passed,
      rows,
      _figures(found, names, size, false_positive, false_negative, corrections),
      f"{runs} runs in one compiled program, one step size for all. Accuracy "
      "is a mean over seeds with 95 % Student-t intervals; cosine and scale of "
      "the expected gradient at the start are exact.",
  )


def _rows(found, names, grid):
  """The heaviest rates, the last of the grid, for each world and method."""
  rates = f"({grid[0][-1]:g}, {grid[1][-1]:g})"
  rows = []
  for world, (accuracy, cosine, scale) in found.items():
    for m, name in enumerate(names):
      label = f"{world} {rates}: {name}"
      rows.append(mean_row(label, "accuracy", accuracy[:, -1, m]))
      rows.append(mean_row(label, "cosine", cosine[-1, m]))
      rows.append(mean_row(label, "scale", scale[-1, m]))
  return rows


def _judge(found, names, tolerance, gain):
  """What must hold whatever the seed, and the one thing learned from it."""
  accuracy, cosine, _ = found["mixed"]
  fine = [_name("backward", normalization) for normalization in _LINEAR]
  fine = [names.index(name) for name in fine if name in names]
  at = lambda name: np.mean(accuracy[:, -1, names.index(name)])
  ahead = at("backward, leave_one_out") - at("raw, leave_one_out")
  passed = (
      np.min(found["constant"][1]) > 1 - tolerance
      and np.min(cosine[:, fine]) > 1 - tolerance
      and ahead > gain
  )
  return bool(passed), (
      f"Constant rates: the cosine of every method is above 1 - {tolerance:g}. "
      "Mixed rates: so is that of backward rewards, centred by a group mean or "
      "not; at the heaviest noise backward leave-one-out is more accurate than "
      f"uncorrected by {gain:g}"
  )


def _figures(found, names, size, false_positive, false_negative, corrections):
  drawn = {}
  for world, (accuracy, cosine, scale) in found.items():
    tables = {
        f"accuracy_{world}": (np.mean(accuracy, 0), "final accuracy", 0.0, 1.0),
        f"cosine_{world}": (cosine, "cosine with exact gradient", -1.0, 1.0),
        f"scale_{world}": (scale, "scale of expected gradient", 0.0, 2.0),
    }
    for figure, (table, label, low, high) in tables.items():
      drawn[figure] = Maps(
          np.asarray(false_positive),
          np.asarray(false_negative),
          {name: table[:, m].reshape(size) for m, name in enumerate(names)},
          label,
          len(names) // len(corrections),
          low,
          high,
      )
  return drawn
