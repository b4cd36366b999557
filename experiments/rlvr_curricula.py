"""Which kinds of problem an agent of `experiments.rlvr` learns from next.

The data hold a candidate of each of K kinds for every place of a batch
(`data.strata`); the agent picks one of them by its own state and key, inside
the program. Axes: B places of a batch, G samples, K kinds.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from experiments.choices import choose
from experiments.tasks import Problems
from rewardjax.advantages import group
from rewardjax.core import checks
from rewardjax.data import curricula
from rewardjax.types import Reward

CURRICULA = ("none", "ucb", "stages")


def is_on(config) -> bool:
  """Whether kinds are chosen; otherwise they come as the data have them."""
  return config.curriculum.name != "none"


def init(config) -> PyTree:
  """What an agent remembers of the kinds before the first step."""
  if config.curriculum.name != "ucb":
    return ()
  return curricula.ucb_init(
      len(config.task.kinds), window=config.curriculum.window
  )


def weights(config, state: PyTree, step: Int[Array, ""]) -> Float[Array, " K"]:
  """The chance of each kind at a step, counted in batches."""
  o, num_kinds = config.curriculum, len(config.task.kinds)
  if o.name == "ucb":
    return curricula.ucb_weights(
        state, temperature=o.temperature, exploration=o.exploration
    )
  stage = curricula.stage_at(step, tuple(o.boundaries))
  # Kind k is unlocked when k boundaries are behind.
  unlocked = jnp.tril(jnp.ones((num_kinds, num_kinds)))
  return curricula.stage_weights(stage, unlocked)


def pick(
    config, key: Key[Array, ""], state: PyTree, step, candidates: Problems
) -> Problems:
  """One of each K candidates `[B * K, ...]`; `key` is consumed."""
  num_kinds = len(config.task.kinds)
  split = lambda x: x.reshape(-1, num_kinds, *x.shape[1:])
  candidates = jax.tree.map(split, candidates)
  num_places = candidates.kinds.shape[0]
  kinds = curricula.draw_sources(
      key, weights(config, state, step), num_places
  )

  def take(x):
    at = kinds.reshape((-1,) + (1,) * (x.ndim - 1))
    return jnp.take_along_axis(x, at, axis=1)[:, 0]

  return jax.tree.map(take, candidates)


def update(
    config, state: PyTree, observed: Reward, kinds: Int[Array, " B"]
) -> PyTree:
  """Remembers how far samples were from the mean of their group.

  Of the verdicts as observed: a kind whose verdicts are noise looks as if it
  could be learned.
  """
  if config.curriculum.name != "ucb":
    return state
  distance = jnp.abs(group.centered(*observed))
  kinds = jnp.broadcast_to(kinds[:, None], distance.shape)
  flat = (x.ravel() for x in (distance, kinds, observed.valid))
  return curricula.ucb_update(state, *flat)


def metrics(config, kinds: Int[Array, " B"]) -> dict[str, Array]:
  """The share of each kind in a batch."""
  if not is_on(config):
    return {}
  share = lambda i: jnp.mean((kinds == i).astype(jnp.float32))
  names = config.task.kinds
  return {f"curriculum/{name}": share(i) for i, name in enumerate(names)}


def check(config) -> None:
  """Raises ValueError, naming the field, unless the curriculum makes sense."""
  o, num_kinds = config.curriculum, len(config.task.kinds)
  choose("curriculum.name", dict.fromkeys(CURRICULA), o.name)
  checks.at_least("config", 1, **{"curriculum.window": o.window})
  checks.at_least("config", 0.0, **{"curriculum.exploration": o.exploration})
  checks.within(
      "config", 0.0, low_open=True, **{"curriculum.temperature": o.temperature}
  )
  if is_on(config) and config.task.rewording:
    raise ValueError(
        "config.curriculum.name must be 'none' with config.task.rewording: "
        f"wordings come in pairs of one kind; got {o.name!r}."
    )
  if o.name != "stages":
    return
  edges = tuple(o.boundaries)
  if len(edges) != num_kinds - 1 or sorted(set(edges)) != list(edges):
    raise ValueError(
        "config.curriculum.boundaries must rise, one for each of "
        f"config.task.kinds {tuple(config.task.kinds)} but the first; got "
        f"{edges}."
    )
