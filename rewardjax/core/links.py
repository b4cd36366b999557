"""Links of pairwise losses: from a margin to a loss, per pair.

A margin is how much higher the winner scores, in nats if scores are
log-odds; positive is right.
"""

import jax
from jaxtyping import Array, Float

from rewardjax.core import masking


def logistic(margins: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """-log sigmoid(margin), finite for any margin (Bradley-Terry).

  Gradient: -sigmoid(-margin).

  References:
    Bradley and Terry, "Rank analysis of incomplete block designs", 1952.
  """
  return jax.nn.softplus(-masking.as_accumulator(margins))
