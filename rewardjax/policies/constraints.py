"""What may be said next, as a state machine that runs with the sampler.

    constraint = TokenConstraint(start, allowed, advance)
    decoding.sample(..., constraint=constraint)

The sampler draws from the law applied to what is allowed, and its log-probs
are those of that distribution. A scorer must restrict its logits alike:
`restrict(logits, allowed_along(constraint, tokens))`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking


class TokenConstraint(NamedTuple):
  """Functions of one integer state per sample.

  start: of every sample, before its first token.
  allowed: (states [N]) -> Bool [N, V]. Where nothing is, the sample ends.
  advance: (states [N], tokens [N]) -> states [N].
  """

  start: int
  allowed: Callable
  advance: Callable


def restrict(
    logits: Float[Array, "*batch V"], allowed: Bool[Array, "*batch V"]
) -> Float[Array, "*batch V"]:
  """-inf where not allowed; as given where nothing is, so that it stays finite.

  Gradient: flows through allowed logits.
  """
  checks.same_shape("restrict", logits=logits, allowed=allowed)
  some = jnp.any(allowed, axis=-1, keepdims=True)
  return jnp.where(allowed | ~some, masking.as_accumulator(logits), -jnp.inf)


def allowed_along(
    constraint: TokenConstraint, tokens: Int[Array, "*batch T"]
) -> Bool[Array, "*batch T V"]:
  """What was allowed before each token of finished samples."""
  rows = tokens.reshape(-1, tokens.shape[-1])
  start = jnp.full(rows.shape[:1], constraint.start, jnp.int32)

  def turn(states, now):
    return constraint.advance(states, now), constraint.allowed(states)

  _, found = jax.lax.scan(turn, start, rows.T)
  return jnp.moveaxis(found, 0, 1).reshape(*tokens.shape, -1)
