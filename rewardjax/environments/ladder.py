"""A ladder of skills: level k needs skills 1 .. k at once.

The student attempts each skill as an independent coin, so every chance and
every gradient is known. Levels start hard: with L skills of chance p the top
level has chance p^L.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rewardjax.core import checks, masking


def needed(levels: Int[Array, "*batch"], num_skills: int) -> Bool[
    Array, "*batch L"
]:
  """Which skills each level needs: those below it."""
  checks.at_least("needed", 1, num_skills=num_skills)
  skills = jnp.arange(num_skills).reshape((1,) * levels.ndim + (-1,))
  return skills < levels[..., None]


def success(
    skills: Float[Array, " L"], levels: Int[Array, "*batch"]
) -> Float[Array, "*batch"]:
  """Exact chance of a student at each level 1 .. L: a product of sigmoids.

  Gradient: flows through `skills`.
  """
  needs = needed(levels, skills.shape[-1])
  shape = (1,) * levels.ndim + (-1,)
  log_p = jax.nn.log_sigmoid(masking.as_accumulator(skills)).reshape(shape)
  log_p = jnp.broadcast_to(log_p, needs.shape)
  return jnp.exp(masking.masked_sum(log_p, needs, -1))


def attempt(
    key: Key[Array, ""],
    skills: Float[Array, " L"],
    levels: Int[Array, " B"],
    *,
    num_samples: int,
) -> tuple[Bool[Array, "B G L"], Bool[Array, "B G"]]:
  """G attempts at each problem: which skills worked, and whether all did.

  Skills that a level does not need are not tried: False. `key` is consumed.
  """
  checks.at_least("attempt", 1, num_samples=num_samples)
  shape = (levels.shape[0], num_samples, skills.shape[-1])
  worked = jax.random.uniform(key, shape) < jax.nn.sigmoid(skills)[None, None]
  needs = needed(levels, skills.shape[-1])[:, None]
  return worked & needs, jnp.all(worked | ~needs, axis=-1)


def log_prob(
    skills: Float[Array, " L"],
    levels: Int[Array, " B"],
    worked: Bool[Array, "B G L"],
) -> Float[Array, "B G"]:
  """Log-probability of what was attempted, in nats.

  Gradient: flows through `skills`.
  """
  skills = masking.as_accumulator(skills)[None, None]
  each = jnp.where(
      worked, jax.nn.log_sigmoid(skills), jax.nn.log_sigmoid(-skills)
  )
  needs = jnp.broadcast_to(
      needed(levels, skills.shape[-1])[:, None], each.shape
  )
  return masking.masked_sum(each, needs, -1)
