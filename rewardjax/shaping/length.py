"""Terms that depend on how long a sample is and on how it ended.

Add them to rewards. They are not outcomes: decide which groups are
informative before adding them.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks
from rewardjax.types import Scalar


def overlong_penalty(
    lengths: Int[Array, "*batch"],
    *,
    max_length: int,
    buffer: int,
    factor: Scalar = 1.0,
) -> Float[Array, "*batch"]:
  """0 up to max_length - buffer, then linearly down to -factor at max_length.

  Args:
    lengths: sampled tokens per sequence.
    max_length: the longest completion allowed, in tokens.
    buffer: width of the slope, in tokens.
    factor: the largest penalty, in reward units.

  Returns:
    A term <= 0 to be added to the reward, float32; -factor beyond max_length.

  Raises:
    ValueError: unless 0 < buffer <= max_length.

  References:
    Yu et al., "DAPO", 2025, arXiv:2503.14476, soft overlong punishment.
  """
  checks.within(
      "overlong_penalty", 0, max_length, low_open=True, buffer=buffer
  )
  excess = (lengths - (max_length - buffer)).astype(jnp.float32) / buffer
  return -jnp.clip(excess, 0.0, 1.0) * factor


def missing_stop_penalty(
    truncated: Bool[Array, "*batch"], *, penalty: Scalar
) -> Float[Array, "*batch"]:
  """-penalty where a sample ran out of room before it stopped, else 0.

  Args:
    truncated: as the sampler recorded it; never guessed from token ids.
    penalty: in reward units, positive.
  """
  return -truncated.astype(jnp.float32) * penalty


def length_trapezoid(
    lengths: Int[Array, "*batch"],
    *,
    rise_start: Scalar | Float[Array, "*#batch"],
    rise_end: Scalar | Float[Array, "*#batch"],
    fall_start: Scalar | Float[Array, "*#batch"],
    fall_end: Scalar | Float[Array, "*#batch"],
) -> Float[Array, "*batch"]:
  """0, a linear rise to 1, a plateau, a linear fall back to 0.

  Args:
    lengths: sampled tokens per sequence.
    rise_start: up to here 0, in tokens; like the others a number or one per
      task, such as `[B, 1]`: long answers for reasoning, short ones else.
    rise_end: from here on 1; equal to `rise_start` it is a step, and 1 there.
    fall_start: up to here 1.
    fall_end: from here on 0; equal to `fall_start` it is a step, 0 beyond.

  Returns:
    A reward in [0, 1], float32.

  Raises:
    ValueError: unless the bounds, as far as they are Python numbers, ascend.

  References:
    "OpenVLThinkerV2"; the shape is reconstructed from its description.
  """
  where = "length_trapezoid"
  bounds = dict(
      rise_start=rise_start,
      rise_end=rise_end,
      fall_start=fall_start,
      fall_end=fall_end,
  )
  least = -math.inf
  for name, bound in bounds.items():
    checks.at_least(where, least, **{name: bound})
    least = bound if isinstance(bound, int | float) else least
  x = lengths.astype(jnp.float32)
  rise = _ramp(x, rise_start, rise_end)
  # From the other end: the step of a fall of width 0 lies beyond its end.
  return jnp.minimum(rise, _ramp(-x, -fall_end, -fall_start))


def _ramp(x, start, end):
  """0 up to `start`, linear, 1 from `end` on."""
  width = jnp.asarray(end - start, x.dtype)
  steep = width <= 0
  slope = (x - start) / jnp.where(steep, 1.0, width)
  return jnp.where(x >= end, 1.0, jnp.where(steep, 0.0, jnp.clip(slope, 0, 1)))
