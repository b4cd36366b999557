"""The small networks of these studies, and how they learn from pairs."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from rewardjax.core.masking import Mean
from rewardjax.models.heads import VectorHead
from rewardjax.reward_models import fitting
from rewardjax.reward_models.pairwise import pairwise_logistic


class Scorer(NamedTuple):
  """`init(key)` and `apply(params, x[*batch, D]) -> [*batch]`."""

  init: Callable[[Array], PyTree]
  apply: Callable[..., Array]


def scorer(
    dim: int, widths: tuple[int, ...] = (64,), activation=nn.tanh
) -> Scorer:
  """A network from D coordinates to one reward, 0 at first."""
  head = VectorHead(1, widths, activation=activation)
  return Scorer(
      lambda key: head.init(key, jnp.zeros((1, dim))),
      lambda params, x: head.apply(params, x)[..., 0],
  )


def affine(x: Array, kernel: Array, bias: Array) -> Array:
  """x kernel + bias over any leading axes."""
  return x @ kernel + bias.reshape((1,) * (x.ndim - 1) + (-1,))


def in_two_stages(train, read, keys: Array) -> PyTree:
  """read(key, train(key)) for every key, compiled once.

  Training is many small steps, side by side in one `vmap`; what follows is
  few large products, which are fastest one run after the other.

  Args:
    train: from a key to what was learned.
    read: from a key and what was learned to what is measured.
    keys: one per run.

  Returns:
    NumPy arrays with a first axis of runs.
  """

  @jax.jit
  def both(keys):
    learned = jax.vmap(train)(keys)
    return jax.lax.map(lambda inputs: read(*inputs), (keys, learned))

  return jax.device_get(both(keys))


def pair_loss(apply: Callable[..., Array], **fields):
  """Loss for `fitting.fit` on rows with `chosen`, `rejected` and more.

  Args:
    apply: from parameters and items to rewards.
    **fields: arguments of `pairwise_logistic` by the names of the rows' keys
      that hold them, such as `target="soft"`.
  """

  def loss(params, batch, key):
    del key  # no dropout
    diff = apply(params, batch["chosen"]) - apply(params, batch["rejected"])
    options = {name: batch[key] for name, key in fields.items()}
    return Mean.of(pairwise_logistic(diff, **options))

  return loss


def fit_scorer(
    key: Array,
    model: Scorer,
    loss,
    data: PyTree,
    *,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
    decay: float = 0.0,
    start: PyTree | None = None,
) -> PyTree:
  """Parameters after AdamW; `start` in place of fresh ones."""
  init_key, fit_key = jax.random.split(key)
  params = model.init(init_key) if start is None else start
  return fitting.fit(
      fit_key, params, loss, data,
      optimizer=optax.adamw(learning_rate, weight_decay=decay),
      num_steps=num_steps, batch_size=batch_size,
  ).params
