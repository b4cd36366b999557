"""Flows with known velocities, and small pictures.

`gaussian_ends` is exact; `ring` and `digits` are to be learned.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rewardjax.core.random import split_named
from rewardjax.diffusion import schedules

RADIUS = 2.0
# Of 0 .. 9, three columns and five rows, the top row first.
_FONT = (
    "111101101101111 010110010010111 111001111100111 111001111001111 "
    "101101111001001 111100111001111 111100111101111 111001001001001 "
    "111101111101111 111101111001111"
)


def gaussian_ends(
    schedule: schedules.Schedule,
    x: Float[Array, " N *event"],
    t: Float[Array, "*#N"],
    *,
    mean: float = 0.0,
    std: float = 1.0,
) -> schedules.Endpoints:
  """E[x0 | x_t] and E[eps | x_t] where x0 is N(mean, std^2), exactly."""
  t = schedules.spread(t, x)
  alpha, sigma = schedule.alpha(t), schedule.sigma(t)
  variance = jnp.square(alpha * std) + jnp.square(sigma)
  off = (x - alpha * mean) / variance
  return schedules.Endpoints(mean + alpha * std**2 * off, sigma * off)


def gaussian_velocity(
    x: Float[Array, " N *event"], t: Float[Array, "*#N"]
) -> Float[Array, " N *event"]:
  """(2t - 1) x / ((1 - t)^2 + t^2): rectified flow to N(0, 1)."""
  t = schedules.spread(t, x)
  return (2 * t - 1) * x / (jnp.square(1 - t) + jnp.square(t))


def centres(num_modes: int = 8) -> Float[Array, "K 2"]:
  """Of the modes of `ring`, the first at (2, 0)."""
  angles = 2 * math.pi * jnp.arange(num_modes) / num_modes
  return RADIUS * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def ring(
    key: Key[Array, ""], count: int, *, num_modes: int = 8, std: float = 0.15
) -> Float[Array, "N 2"]:
  """Points near one of several modes on a circle; `key` is consumed."""
  keys = split_named(key, "mode", "noise")
  mode = jax.random.randint(keys["mode"], (count,), 0, num_modes)
  noise = jax.random.normal(keys["noise"], (count, 2))
  return centres(num_modes)[mode] + std * noise


def digits() -> Float[Array, "10 8 8"]:
  """The ten digits on 8 x 8 pixels, 1 is ink."""
  rows = jnp.array([[int(c) for c in word] for word in _FONT.split()])
  glyphs = rows.reshape(10, 5, 3).astype(jnp.float32)
  return jnp.pad(glyphs, ((0, 0), (1, 2), (2, 3)))


def draw_digits(
    key: Key[Array, ""],
    labels: Int[Array, "*batch"],
    *,
    flips: float = 0.0,
) -> Float[Array, "*batch 8 8"]:
  """Digits moved by up to one pixel, each pixel flipped with `flips`.

  `key` is consumed.
  """
  keys = split_named(key, "down", "right", "flips")
  shape = labels.shape
  down = jax.random.randint(keys["down"], shape, 0, 2)
  right = jax.random.randint(keys["right"], shape, 0, 2)
  glyphs = digits()
  both = [
      jnp.roll(glyphs, (i, j), axis=(1, 2)) for i in range(2) for j in range(2)
  ]
  clean = jnp.stack(both)[2 * down + right, labels]
  flip = jax.random.bernoulli(keys["flips"], flips, clean.shape)
  return jnp.where(flip, 1 - clean, clean)
