"""Fitting a reward model to data that fits in memory: one compiled loop.

A pure function of a key and arrays, so that `vmap` runs seeds, members or
noise rates side by side. For models over many devices, checkpoints and data
that stream see `training`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from rewardjax.core import checks
from rewardjax.core.masking import Mean, safe_divide

Loss = Callable[[PyTree, Any, Array], Mean]  # (params, batch, key)


class Fitted(NamedTuple):
  """The parameters that did best on what was held out, and the way there.

  params: without held-out data those of the last step.
  losses: of the training batches, before each step.
  held_out: at each check. Both are NaN after the loop had stopped.
  best_check: where `held_out` was lowest.
  """

  params: PyTree
  losses: Float[Array, " S"]
  held_out: Float[Array, " C"]
  best_check: Int[Array, ""]


class _State(NamedTuple):
  params: PyTree
  opt_state: optax.OptState
  best: PyTree
  best_loss: Float[Array, ""]
  best_check: Int[Array, ""]
  since: Int[Array, ""]  # checks without gain


def take(data: PyTree, index: Int[Array, "..."]) -> PyTree:
  """The rows `index` of every array of `data`."""
  return jax.tree.map(lambda x: x[index], data)


def epoch_batches(
    key: Key[Array, ""], num_rows: int, *, batch_size: int, num_steps: int
) -> Int[Array, "S N"]:
  """Rows of each batch: a new order every epoch, no row twice within one.

  Args:
    key: consumed.
    num_rows: of the data (static).
    batch_size: N; the rows left over in an epoch are not used in it (static).
    num_steps: S (static).

  Raises:
    ValueError: if `batch_size` is not in [1, num_rows] or `num_steps` < 1.
  """
  where = "epoch_batches"
  checks.within(where, 1, num_rows, batch_size=batch_size)
  checks.at_least(where, 1, num_steps=num_steps)
  per_epoch = num_rows // batch_size
  epochs = -(-num_steps // per_epoch)
  orders = jax.vmap(lambda k: jax.random.permutation(k, num_rows))(
      jax.random.split(key, epochs)
  )
  rows = orders[:, : per_epoch * batch_size].reshape(-1, batch_size)
  return rows[:num_steps]


def fit(
    key: Key[Array, ""],
    params: PyTree,
    loss_fn: Loss,
    data: PyTree,
    *,
    optimizer: optax.GradientTransformation,
    num_steps: int,
    batch_size: int,
    held_out: PyTree | None = None,
    check_every: int = 100,
    patience: int | None = None,
) -> Fitted:
  """Minimises `loss_fn` over shuffled batches; keeps what did best held out.

  Compile it with `jax.jit`, the keywords but `data` and `held_out` fixed.

  Args:
    key: consumed; half of it orders the rows, the other half is given to
      `loss_fn` step by step.
    params: where to start.
    loss_fn: `(params, batch, key) -> Mean`.
    data: a tree of arrays with one leading axis of rows.
    optimizer: an optax transformation.
    num_steps: S, a multiple of `check_every` where rows are held out (static).
    batch_size: rows of a step (static).
    held_out: rows like `data` that are never trained on; None checks nothing.
    check_every: steps between two looks at `held_out` (static).
    patience: stop after so many checks without gain; None never stops. Under
      `vmap` a member that has stopped waits for the others (static).

  Raises:
    ValueError: if a number does not fit.
  """
  if held_out is None:
    check_every = num_steps
  _check_numbers(num_steps, check_every, patience)
  order_key, loss_key = jax.random.split(key)
  num_rows = jax.tree.leaves(data)[0].shape[0]
  rows = epoch_batches(
      order_key, num_rows, batch_size=batch_size, num_steps=num_steps
  )
  keys = jax.random.split(loss_key, num_steps)
  train = _make_train(loss_fn, optimizer, data)
  infinity, zero = jnp.asarray(jnp.inf, jnp.float32), jnp.zeros((), jnp.int32)
  moments = optimizer.init(params)
  if held_out is None:
    (params, _), losses = jax.lax.scan(train, (params, moments), (rows, keys))
    return Fitted(params, losses, jnp.full(1, jnp.nan), zero)
  blocks = num_steps // check_every
  split = lambda x: x.reshape(blocks, check_every, *x.shape[1:])
  one_round = _make_round(train, _make_check(loss_fn, held_out), patience)
  start = _State(params, moments, params, infinity, zero, zero)
  state, (losses, found) = jax.lax.scan(
      one_round,
      start,
      (jnp.arange(blocks, dtype=jnp.int32), split(rows), split(keys)),
  )
  return Fitted(state.best, losses.reshape(-1), found, state.best_check)


def _check_numbers(num_steps, check_every, patience):
  checks.at_least("fit", 1, num_steps=num_steps, check_every=check_every)
  if patience is not None:
    checks.at_least("fit", 1, patience=patience)
  if num_steps % check_every:
    raise ValueError(
        f"fit: num_steps must be a multiple of check_every, got {num_steps} "
        f"and {check_every}."
    )


def _make_round(train, check, patience):
  """Steps until the next check, and the check; nothing once patience ends."""

  def run(state, number, rows, keys):
    (new, opt), losses = jax.lax.scan(
        train, (state.params, state.opt_state), (rows, keys)
    )
    state = state._replace(params=new, opt_state=opt)
    state, found = check(state, number)
    return state, losses, found

  def skip(state, number, rows, keys):
    # The shapes of `run`, without running it.
    _, losses, found = jax.eval_shape(run, state, number, rows, keys)
    nan = lambda x: jnp.full(x.shape, jnp.nan, x.dtype)
    return state, nan(losses), nan(found)

  def one_round(state, inputs):
    if patience is None:
      state, *seen = run(state, *inputs)
    else:
      go_on = state.since < patience
      state, *seen = jax.lax.cond(go_on, run, skip, state, *inputs)
    return state, seen

  return one_round


def _make_train(loss_fn, optimizer, data):
  def train(carry, inputs):
    params, opt_state = carry
    rows, key = inputs

    def total(params):
      loss = loss_fn(params, take(data, rows), key)
      return loss.total, loss.weight

    (value, weight), grads = jax.value_and_grad(total, has_aux=True)(params)
    grads = jax.tree.map(lambda g: safe_divide(g, weight), grads)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
    return (params, opt_state), safe_divide(value, weight)

  return train


def _make_check(loss_fn, held_out):
  def check(state, number):
    # One key for all checks: they differ by the parameters alone.
    found = loss_fn(state.params, held_out, jax.random.key(0)).value
    found = found.astype(state.best_loss.dtype)
    better = found < state.best_loss
    keep = lambda new, old: jnp.where(better, new, old)
    return state._replace(
        best=jax.tree.map(keep, state.params, state.best),
        best_loss=keep(found, state.best_loss),
        best_check=keep(number, state.best_check),
        since=keep(0, state.since + 1),
    ), found

  return check


def split_rows(
    key: Key[Array, ""], data: PyTree, *, held_out: int
) -> tuple[PyTree, PyTree]:
  """Data to train on, and `held_out` rows drawn from it (static).

  Rows of one prompt should lie in one part: split prompts, then rows.

  Args:
    key: consumed.
    data: a tree of arrays with one leading axis of rows.
    held_out: number of rows, less than all.

  Raises:
    ValueError: if nothing is left to train on.
  """
  num_rows = jax.tree.leaves(data)[0].shape[0]
  checks.within("split_rows", 1, num_rows - 1, held_out=held_out)
  order = jax.random.permutation(key, num_rows)
  return take(data, order[held_out:]), take(data, order[:held_out])
