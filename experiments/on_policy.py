"""Training on batches that the policy of the moment collects, in one scan."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key, PyTree

from rewardjax.core.masking import Mean
from rewardjax.training.state import init_state
from rewardjax.training.step import make_train_step


def train(
    key: Key[Array, ""],
    params: PyTree,
    collect: Callable[..., Any],
    loss: Callable[[PyTree, Any], Mean],
    measure: Callable[[PyTree, Any], Any] = lambda params, batch: (),
    *,
    num_steps: int,
    learning_rate: float,
) -> tuple[PyTree, Any]:
  """One step of Adam on each batch; returns parameters and measurements.

  Args:
    key: consumed.
    params: at the start.
    collect: `(key, params, step) -> batch`, any pytree.
    loss: `(params, batch) -> Mean`.
    measure: `(params, batch) -> pytree`, after each step.
    num_steps: static.
    learning_rate: of Adam.
  """
  optimizer = optax.adam(learning_rate)
  step = make_train_step(
      lambda params, batch, key: (loss(params, batch), {}), optimizer
  )

  def turn(state, inputs):
    index, key = inputs
    batch = collect(key, state.params, index)
    state, _ = step(state, batch, key)
    return state, measure(state.params, batch)

  inputs = jnp.arange(num_steps), jax.random.split(key, num_steps)
  state, found = jax.lax.scan(turn, init_state(params, optimizer), inputs)
  return state.params, found
