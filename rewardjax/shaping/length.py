"""Terms that depend on how long a sample is and on how it ended.

Add them to rewards. They are not outcomes: decide which groups are
informative before adding them.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking
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


def group_length_penalty(
    lengths: Int[Array, "*batch G"],
    correct: Bool[Array, "*batch G"],
    mask: Bool[Array, "*batch G"] | None = None,
    *,
    max_penalty: Scalar = 0.5,
    tolerance: Scalar = 1.0,
    both: bool = False,
) -> Float[Array, "*batch G"]:
  """Charges wrong answers for being shorter than the right ones.

      -max_penalty clip((m - l) / (tolerance m), 0, 1)

  with m the mean length of the right answers of the group: giving up early
  must not be the cheapest way to be wrong.

  Args:
    lengths: tokens of each answer.
    correct: whether it is right.
    mask: True for answers whose verdict is known; None means all.
    max_penalty: in reward units.
    tolerance: the share of m by which an answer may fall short before the
      whole penalty is due.
    both: whether longer ones are charged alike (static).

  Returns:
    A term <= 0 to be added to the reward, float32; 0 for right answers,
    and for a group without one.

  Raises:
    ValueError: if shapes differ, or `tolerance` is not positive.

  References:
    "Beyond Monolithic Rewards: A Hybrid and Multi-Aspect Reward
      Optimization" (HARMO; the formula is our reading).
  """
  where = "group_length_penalty"
  checks.within(where, 0.0, low_open=True, tolerance=tolerance)
  checks.same_shape(where, lengths=lengths, correct=correct, mask=mask)
  mask = jnp.ones(lengths.shape, bool) if mask is None else mask
  lengths = jnp.where(mask, lengths, 0).astype(jnp.float32)
  right = mask & correct
  mean = masking.masked_mean(lengths, right, -1, keepdims=True)
  short = masking.safe_divide(mean - lengths, mean * tolerance)
  short = jnp.clip(jnp.abs(short) if both else short, 0.0, 1.0)
  # Without a right answer the mean is 0, and so is the quotient.
  return masking.fill_masked(-max_penalty * short, mask & ~correct)


def _ramp(x, start, end):
  """0 up to `start`, linear, 1 from `end` on."""
  width = jnp.asarray(end - start, x.dtype)
  steep = width <= 0
  slope = (x - start) / jnp.where(steep, 1.0, width)
  return jnp.where(x >= end, 1.0, jnp.where(steep, 0.0, jnp.clip(slope, 0, 1)))
