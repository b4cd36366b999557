"""Paths past one disc that crosses the road."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.core.random import split_named

NUM_STEPS = 8


class Disc(NamedTuple):
  """Where the disc is at first, and how fast it crosses the road."""

  start: Float[Array, "*batch"]
  speed: Float[Array, "*batch"]

  @property
  def context(self):
    """What the generator is told."""
    return jnp.stack([self.start, 10 * self.speed], axis=-1)

  @property
  def path(self) -> Float[Array, "*batch T 2"]:
    """Its places."""
    k = 1.0 + jnp.arange(NUM_STEPS)
    k = k.reshape((1,) * self.start.ndim + (-1,))
    across = self.start[..., None] + self.speed[..., None] * k
    along = jnp.broadcast_to(5 - 0.1 * k, across.shape)
    return jnp.stack([along, across], axis=-1)


def draw_discs(key, shape) -> Disc:
  """`key` is consumed."""
  keys = split_named(key, "start", "speed")
  within = lambda name, size: jax.random.uniform(
      keys[name], shape, minval=-size, maxval=size
  )
  return Disc(within("start", 1.0), within("speed", 0.15))


def recorded(key, count) -> Float[Array, "N T 2"]:
  """Paths that pass on the left, the right, or go straight, blindly."""
  keys = split_named(key, "mode", "speed", "noise")
  mode = jax.random.randint(keys["mode"], (count, 1), -1, 2).astype(float)
  speed = jax.random.uniform(keys["speed"], (count, 1), minval=0.5, maxval=1.1)
  k = 1.0 + jnp.arange(NUM_STEPS)[None]
  across = 1.2 * mode * jax.nn.sigmoid(1.5 * (k - 3))
  places = jnp.stack([speed * k, across], axis=-1)
  return places + 0.05 * jax.random.normal(keys["noise"], places.shape)


def distance(paths, discs):
  """From the disc, where it is least."""
  return jnp.min(jnp.linalg.norm(paths - discs.path, axis=-1), axis=-1)


def rule(paths, discs):
  """Less for a collision and for sudden changes; progress is not seen."""
  jerk = jnp.diff(paths, 2, axis=-2)
  sudden = jnp.mean(jnp.sum(jnp.square(jerk), -1), -1)
  return -jax.nn.sigmoid(10 * (0.6 - distance(paths, discs))) - sudden


def truth(paths, discs):
  """The rule, and progress, of which no more than 1.1 counts."""
  progress = jnp.clip(paths[..., -1, 0] / NUM_STEPS, 0.0, 1.1)
  return progress + rule(paths, discs)
