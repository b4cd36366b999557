"""Terms that depend on how long a sample is and on how it ended.

Add them to rewards. They are not outcomes: decide which groups are
informative before adding them.
"""

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
