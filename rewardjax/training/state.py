"""What an optimiser carries from one step to the next."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree


class TrainState(NamedTuple):
  """Parameters, optimiser state and the number of steps taken.

  A plain pytree: `vmap` over `init_state` is an ensemble or a set of seeds.
  """

  params: PyTree
  opt_state: optax.OptState
  step: Int[Array, "*seeds"]


def init_state(
    params: PyTree, optimizer: optax.GradientTransformation
) -> TrainState:
  """The state before the first step; `params` are its master weights."""
  step = jnp.zeros((), jnp.int32)
  return TrainState(params, optimizer.init(params), step)
