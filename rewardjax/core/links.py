"""Links of pairwise losses: from a margin to a loss, per pair.

A margin is how much higher the winner scores, in nats if scores are
log-odds; positive is right. Fill masked margins *before* the call: a NaN
kept out of the sum only afterwards still makes the gradient NaN.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar

Link = Callable[[Array], Array]  # from margins to losses, entry by entry


def logistic(margins: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """-log sigmoid(margin), finite for any margin (Bradley-Terry).

  Gradient: -sigmoid(-margin).

  References:
    Bradley and Terry, "Rank analysis of incomplete block designs", 1952.
  """
  return jax.nn.softplus(-masking.as_accumulator(margins))


def hinge(
    margins: Float[Array, "*shape"], *, threshold: Scalar = 1.0
) -> Float[Array, "*shape"]:
  """max(0, threshold - margin): a pair won by `threshold` is left alone.

  Gradient: -1 below the threshold, 0 above it, -1/2 at it.

  Raises:
    ValueError: if `threshold` is negative.
  """
  checks.at_least("hinge", 0.0, threshold=threshold)
  return jnp.maximum(threshold - masking.as_accumulator(margins), 0.0)


def sigmoid(margins: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """sigmoid(-margin): a soft count of wrong pairs, bounded by 1.

  Symmetric: sigmoid(x) + sigmoid(-x) = 1 for every margin. Labels flipped at
  random at one rate below 1/2 therefore scale and shift the expected loss
  and leave its minimiser where it was, with no rate to be known.

  Gradient: -sigmoid(margin) sigmoid(-margin), which vanishes at both ends: a
  pair that is very wrong is given up.

  References:
    Ghosh et al., "Making Risk Minimization Tolerant to Label Noise", 2015.
  """
  return jax.nn.sigmoid(-masking.as_accumulator(margins))


def mixed(
    margins: Float[Array, "*shape"],
    won: Float[Array, "*shape"],
    lost: Float[Array, "*shape"],
    *,
    link: Link = logistic,
) -> Float[Array, "*shape"]:
  """won * link(margin) + lost * link(-margin).

  Args:
    margins: of the first over the second of two items.
    won: weight of "the first is better"; any sign.
    lost: weight of "the second is better"; 1 - won for a soft label.
    link: the loss of a pair (static).

  Gradient: flows through `margins` and both weights.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("mixed", margins=margins, won=won, lost=lost)
  return won * link(margins) + lost * link(-margins)
