"""What learning makes of a noisy verifier: uniform, unequal, hackable (E1-E3).

Each function maps the fields of its config to a `Study`: what was measured,
against a criterion that was fixed before.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.choices import choose
from experiments.noise_studies import bandits as arms
from experiments.studies import Curves, Study, mean_row, seed_keys
from rewardjax.environments import bandits
from rewardjax.types import NoiseRates


def _by_name(names, results):
  """Splits the method axis of `[seeds, M, ...]` into a dict."""
  results = jax.device_get(results)
  pick = lambda m: jax.tree.map(lambda x: x[:, m], results)
  return {name: pick(m) for m, name in enumerate(names)}


def uniform_noise(
    *, seed, num_seeds, num_prompts, num_arms, settings, methods, margins
) -> Study:
  """E1: one pair of rates for all; corrections can only change the step.

  `settings` and `methods` map names to keyword arguments of the run and of
  `make_method`; `margins` are the differences that the criterion asks for.
  """
  composed = [arms.make_method(**m) for m in methods.values()]

  @functools.partial(jax.jit, static_argnames=("num_steps", "group_size"))
  def run_all(keys, rates, learning_rate, **sizes):
    def run(key):
      world_key, learn_key = jax.random.split(key)
      world = bandits.one_right_arm(
          world_key, rates, num_prompts=num_prompts, num_arms=num_arms
      )
      return arms.learn(
          learn_key, world, composed, learning_rate=learning_rate, **sizes
      )[1]

    return jax.vmap(run)(keys)

  rows, curves, accuracy = [], {}, {}
  for setting, s in settings.items():
    lines = run_all(
        seed_keys(seed, num_seeds),
        NoiseRates(s["false_positive"], s["false_negative"]),
        s["learning_rate"],
        num_steps=s["num_steps"],
        group_size=s["group_size"],
    )
    lines = _by_name(methods, lines)
    accuracy[setting] = {name: np.mean(x[:, -1]) for name, x in lines.items()}
    rows += [
        mean_row(f"{setting}, {name}", "accuracy", x[:, -1])
        for name, x in lines.items()
    ]
    steps = np.arange(1, s["num_steps"] + 1)
    curves[f"accuracy_{setting}"] = Curves(steps, lines, "step", "accuracy")

  def wins(setting, better, worse):
    margin = margins[setting]
    return accuracy[setting][better] > accuracy[setting][worse] + margin

  large = [name for name in margins if settings[name]["learning_rate"] > 1]
  small = [name for name in margins if name not in large]
  passed = all(
      wins(name, "forward", other)
      for name in large
      for other in ("raw", "backward")
  ) and all(wins(name, "backward", "raw") for name in small)
  return Study(
      "E1: uniform noise",
      "Forward beats raw and backward by "
      + ", ".join(f"{margins[n]:g} ({n})" for n in large)
      + "; backward beats raw by "
      + ", ".join(f"{margins[n]:g} ({n})" for n in small),
      bool(passed),
      rows,
      curves,
  )


def two_verifiers(
    *,
    seed,
    num_seeds,
    num_prompts,
    worth,
    false_positive,
    false_negative,
    num_steps,
    group_size,
    learning_rate,
    methods,
    within,
    below,
) -> Study:
  """E2: one policy, an honest and a noisy verifier; raw picks the wrong arm.

  "clean" is the uncorrected method in a world without noise.
  """
  make = functools.partial(
      bandits.two_verifiers, num_prompts=num_prompts, worth=worth
  )
  worlds = {
      "clean": make(NoiseRates(0.0, 0.0)),
      "noisy": make(NoiseRates(false_positive, false_negative)),
  }
  composed = [arms.make_method(**m) for m in methods.values()]
  raw = [arms.make_method("none", "none")]
  run = functools.partial(
      arms.learn,
      num_steps=num_steps,
      group_size=group_size,
      learning_rate=learning_rate,
  )

  def run_both(key):
    both = run(key, worlds["clean"], raw), run(key, worlds["noisy"], composed)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *both)

  names = ["clean", *methods]
  results = jax.jit(jax.vmap(run_both))(seed_keys(seed, num_seeds))
  results = _by_name(names, results)
  rows, value = [], {}
  for name, (logits, rewards) in results.items():
    chosen = jax.nn.softmax(logits, -1)[:, 0, 1]
    value[name] = np.mean(rewards[:, -1])
    rows.append(mean_row(name, "P(best arm)", chosen))
    rows.append(mean_row(name, "expected clean reward", rewards[:, -1]))
  lines = {name: rewards for name, (_, rewards) in results.items()}
  steps = np.arange(1, num_steps + 1)
  return Study(
      "E2: two verifiers, one policy",
      f"Expected clean reward: backward within {within:g} of clean, raw below "
      f"clean by more than {below:g}",
      bool(
          abs(value["backward"] - value["clean"]) < within
          and value["clean"] - value["raw"] > below
      ),
      rows,
      {"reward": Curves(steps, lines, "step", "expected clean reward")},
  )


def hackable_verifier(
    *,
    seed,
    num_seeds,
    num_arms,
    exploit,
    false_positive,
    false_negative,
    num_steps,
    group_size,
    learning_rate,
    methods,
    high,
    low,
) -> Study:
  """E3: the verifier falls for one wrong arm; only its own rates undo that.

  A method's `believes` is "truth" (the rates of every arm) or "uniform" (the
  rates of the other arms for all).
  """
  rates = NoiseRates(false_positive, false_negative)
  make = functools.partial(bandits.hackable, rates, num_arms=num_arms)
  world = make(exploit=exploit)
  uniform = make(exploit=false_positive)
  beliefs = {"truth": world.rates, "uniform": uniform.rates}

  def told(believes, **parts):
    rates = choose("believes", beliefs, believes)
    method = arms.make_method(**parts)
    return lambda sample, _: method(sample, arms.rates_at(rates, sample.arms))

  run = functools.partial(
      arms.learn,
      world=world,
      methods=[told(**m) for m in methods.values()],
      num_steps=num_steps,
      group_size=group_size,
      learning_rate=learning_rate,
  )
  _, lines = jax.jit(jax.vmap(run))(seed_keys(seed, num_seeds))
  lines = _by_name(methods, lines)
  right = {name: np.mean(x[:, -1]) for name, x in lines.items()}
  steps = np.arange(1, num_steps + 1)
  return Study(
      "E3: a verifier that one wrong answer fools",
      f"P(right arm): instance backward above {high:g}; raw and uniform "
      f"backward below {low:g}",
      bool(
          right["instance_backward"] > high
          and max(right["raw"], right["uniform_backward"]) < low
      ),
      [mean_row(name, "P(right arm)", x[:, -1]) for name, x in lines.items()],
      {"accuracy": Curves(steps, lines, "step", "P(right arm)")},
  )
