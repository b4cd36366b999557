"""A study of agents who learn from each other's randomised actions.

The function maps the fields of its config to a `Study`; see `noise_verdicts`.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import NOTE, Curves, Study, mean_row, seed_keys
from rewardjax.core.random import split_named
from rewardjax.noise import privacy


def all_right(sizes, **law) -> list[float]:
  """The belief once as many agents as each of `sizes` have acted rightly."""
  update = lambda _, x: privacy.update_belief(x, jnp.ones(()), **law)
  # Late steps are a hundred-thousandth of the belief: float32 rounds them.
  with jax.enable_x64(True):
    run = jax.jit(
        lambda belief, count: jax.lax.fori_loop(0, count, update, belief)
    )
    belief, found = jnp.zeros(()), []
    for before, size in zip((0, *sizes), sizes):
      belief = run(belief, size - before)
      found.append(float(belief))
  return found


def _publish(key, signals, at, *, response, epsilon):
  """What agents do in public, by the response they use."""
  if response == "smooth":
    return privacy.smooth_randomized_response(
        key, signals, at, epsilon=epsilon
    )
  actions = (signals > at).astype(float)
  if response == "none":
    return actions
  return privacy.randomized_response(key, actions, epsilon=epsilon)


def believe(key, law, *, num_runs, num_agents):
  """Mean belief `[num_agents]` in the true state, over runs."""

  def agent(belief, key):
    keys = split_named(key, "signal", "noise")
    signals = 1 + jax.random.normal(keys["signal"], belief.shape)
    at = privacy.threshold(belief)
    published = _publish(keys["noise"], signals, at, **law)
    belief = privacy.update_belief(belief, published, **law)
    return belief, jnp.mean(belief)

  keys = jax.random.split(key, num_agents)
  return jax.lax.scan(agent, jnp.zeros(num_runs), keys)[1]


def herd(key, *, accuracy, epsilon, num_runs, num_agents):
  """Share of runs with binary signals that end in a right herd.

  `epsilon` None publishes the actions themselves.
  """
  signal = math.log(accuracy / (1 - accuracy))
  rate = 0.0 if epsilon is None else 1 / (1 + math.exp(epsilon))
  right = accuracy * (1 - rate) + (1 - accuracy) * rate
  step = math.log(right / (1 - right))

  def agent(belief, key):
    keys = split_named(key, "signal", "noise")
    acts = jax.random.uniform(keys["signal"], belief.shape) < accuracy
    if epsilon is not None:
      acts = privacy.randomized_response(keys["noise"], acts, epsilon=epsilon)
    moved = jnp.where(acts > 0.5, step, -step)
    # Whom the public outweighs follows it, and says nothing new.
    free = jnp.abs(belief) <= signal * (1 + 1e-5)
    return belief + jnp.where(free, moved, 0.0), None

  keys = jax.random.split(key, num_agents)
  last = jax.lax.scan(agent, jnp.zeros(num_runs), keys)[0]
  return jnp.mean(last > signal)


def _growth(sizes, epsilons):
  """Rows of the belief along right actions, and its slope in log n."""
  laws = {"no noise": dict(response="none")}
  laws |= {f"smooth {e:g}": dict(epsilon=e) for e in epsilons}
  paths = {name: all_right(sizes, **law) for name, law in laws.items()}
  rows = [
      mean_row(name, f"belief after {size} right actions", [x])
      for name, path in paths.items()
      for size, x in zip(sizes, path)
  ]
  decade = math.log(sizes[-1] / sizes[-2])
  slopes = {n: (path[-1] - path[-2]) / decade for n, path in paths.items()}
  rows += [mean_row(n, "last slope in log n", [x]) for n, x in slopes.items()]
  rising = all(np.all(np.diff(path) > 0) for path in paths.values())
  return rows, slopes, rising


def dp_sequential(
    *, seed, num_seeds, sizes, epsilons, num_runs, num_agents, accuracy,
    herd_epsilons, num_herds, herd_length, within,
) -> Study:
  """How fast a crowd learns in private, and how often a herd is right.

  `sizes` are numbers of agents who all act rightly, `num_agents` act on
  signals that are drawn; herds have binary signals of `accuracy`.
  """
  rows, slopes, rising = _growth(sizes, epsilons)
  keys = seed_keys(seed, num_seeds)
  run = lambda f: np.asarray(jax.jit(jax.vmap(f))(keys))
  draw = functools.partial(believe, num_runs=num_runs, num_agents=num_agents)
  laws = {"no noise": dict(response="none", epsilon=0.0)}
  for e in epsilons:
    laws[f"smooth {e:g}"] = dict(response="smooth", epsilon=e)
    laws[f"constant {e:g}"] = dict(response="constant", epsilon=e)
  lines = {
      name: run(lambda key, law=law: draw(key, law))
      for name, law in laws.items()
  }
  rows += [
      mean_row(name, f"mean belief after {num_agents} agents", x[:, -1])
      for name, x in lines.items()
  ]
  herds = {
      e: run(functools.partial(
          herd, accuracy=accuracy, epsilon=e, num_runs=num_herds,
          num_agents=herd_length,
      ))
      for e in (None, *herd_epsilons)
  }
  for e, x in herds.items():
    name = "no noise" if e is None else f"constant {e:g}"
    rows.append(mean_row(name, "right herds", x))
  close = all(
      abs(slopes[f"smooth {e:g}"] * e / 2 - 1) <= within for e in epsilons
  )
  fewer = all(
      np.mean(herds[e]) < np.mean(herds[None]) for e in herd_epsilons
  )
  return Study(
      "Private sequential learning: noise that speeds it up, noise that harms",
      "Along right actions belief only rises, in the last decade by 2 / "
      f"epsilon per log n within {within:.0%}; constant noise makes right "
      "herds rarer",
      bool(rising and close and fewer),
      rows,
      {
          "belief": Curves(
              np.arange(1, num_agents + 1), lines, "agents", "mean belief"
          )
      },
      f"{NOTE} Beliefs along right actions are computed, not drawn.",
  )
