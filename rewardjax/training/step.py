"""One optimiser step, the same under jit, shard_map, pmap and vmap."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Key, PyTree

from rewardjax.core import checks, collectives, masking
from rewardjax.core.collectives import AxisName
from rewardjax.core.masking import Mean
from rewardjax.training.state import TrainState

LossFn = Callable[[PyTree, Any, Array], tuple[Mean, dict[str, Mean]]]
TrainStep = Callable[..., tuple[TrainState, dict[str, Array]]]

RESERVED = ("loss", "grad_norm", "skipped_updates")


def cast_floats(tree: PyTree, dtype: DTypeLike | None) -> PyTree:
  """Casts floating leaves to `dtype`; None, integers and keys stay.

  Gradient: returns to the dtype that a leaf had.
  """
  if dtype is None:
    return tree
  is_float = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
  return jax.tree.map(lambda x: x.astype(dtype) if is_float(x) else x, tree)


def _check_master_weights(params: PyTree) -> None:
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    if not jnp.issubdtype(x.dtype, jnp.floating):
      kind = "floating"
    elif jnp.finfo(x.dtype).bits < 32:
      kind = "float32 or wider (set compute_dtype for the arithmetic)"
    else:
      continue
    name = jax.tree_util.keystr(path)
    raise ValueError(
        f"train_step: params{name} must be {kind}, got {x.dtype}."
    )


def split_microbatches(batch: PyTree, num_microbatches: int) -> PyTree:
  """Gives every leaf `[B, ...]` the shape `[M, B / M, ...]`.

  Microbatch i holds rows i, i + M, i + 2M, ...: where rows lie on several
  devices, each keeps its own and nothing is moved.

  Raises:
    ValueError: naming the leaf whose leading axis M does not divide.
  """
  m = num_microbatches

  def split(path, x):
    if jnp.ndim(x) == 0 or x.shape[0] % m:
      name = jax.tree_util.keystr(path)
      raise ValueError(
          f"train_step: the leading axis of batch{name} must be a multiple of "
          f"num_microbatches={m}, got shape {jnp.shape(x)}."
      )
    return jnp.moveaxis(x.reshape(x.shape[0] // m, m, *x.shape[1:]), 1, 0)

  return jax.tree_util.tree_map_with_path(split, batch)


def _accumulate(sums_of, batch, num_microbatches, axis_name):
  """Adds `sums_of(i, microbatch)` over microbatches, one at a time."""
  if num_microbatches == 1:
    return sums_of(0, batch)
  split = split_microbatches(batch, num_microbatches)
  first = jax.tree.map(lambda x: x[0], split)
  shapes = jax.eval_shape(sums_of, 0, first)
  zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
  # A carry must keep its type: shard_map tells varying from replicated.
  local = lambda tree: collectives.device_local(tree, axis_name)

  def body(sums, indexed):
    new = sums_of(*indexed)
    return local(jax.tree.map(jnp.add, sums, new)), None

  indexed = (jnp.arange(num_microbatches), split)
  return jax.lax.scan(body, local(zeros), indexed)[0]


def _norm(tree: PyTree) -> Float[Array, ""]:
  squares = [jnp.sum(jnp.square(x)) for x in jax.tree.leaves(tree)]
  return jnp.sqrt(sum(squares, start=jnp.zeros(())))


def _keep(finite: Bool[Array, ""], new: PyTree, old: PyTree) -> PyTree:
  return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)


def make_train_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    axis_name: AxisName = None,
    num_microbatches: int = 1,
    compute_dtype: DTypeLike | None = None,
    split_key: bool = True,
) -> TrainStep:
  """Builds the pure, uncompiled `step(state, batch, key)`.

  Totals, weights and gradients are added over microbatches and devices
  before the one division, so every split of a batch, however uneven its
  mask, gives one update. Under jit with sharded arguments the compiler adds
  over devices, after every microbatch; under pmap and shard_map the step
  does, in one `psum` after the last.

  Args:
    loss_fn: `(params, batch, key) -> (loss, metrics)`, `Mean`s over the local
      batch; the loss weight must not depend on `params`.
    optimizer: an optax transformation; it sees the mean gradient.
    axis_name: None under jit; the mapped axis or axes under pmap or
      shard_map.
    num_microbatches: the leading axis of every leaf of the (local) batch is
      cut into so many parts (static), run one after the other. Groups must
      lie within a row.
    compute_dtype: floating parameters are cast to it inside the loss; the
      master weights, their gradients and the optimiser stay in float32.
    split_key: gives every device and microbatch a key of its own. False
      passes them one key, for a loss that folds in global example ids
      (`core.random.keys_by_id`): then draws do not depend on the layout.

  Returns:
    `step(state, batch, key) -> (state, metrics)`; `key` may be the same at
    every step, `state.step` is folded in. Metrics are those of the loss as
    values, and `loss`, `grad_norm` (of the mean gradient, before the
    optimiser) and the count `skipped_updates` (int32): 1 where the gradient
    was not finite and the state was kept but for its step number.

  Raises:
    ValueError: while tracing, if `num_microbatches` does not divide the
      batch, a parameter is not float32 or wider, or a metric takes a
      reserved name.
  """
  checks.at_least("make_train_step", 1, num_microbatches=num_microbatches)

  def sums(params, key, index, batch):
    """Gradients of the local total, and all `Mean`s, of one microbatch."""
    if split_key and num_microbatches > 1:
      key = jax.random.fold_in(key, index)

    def total_loss(params):
      loss, metrics = loss_fn(cast_floats(params, compute_dtype), batch, key)
      taken = sorted(set(metrics) & set(RESERVED))
      if taken:
        raise ValueError(f"train_step: metrics may not be named {taken}.")
      return loss.total, {**metrics, "loss": loss}

    return jax.grad(total_loss, has_aux=True)(params)

  def step(
      state: TrainState, batch: PyTree, key: Key[Array, ""]
  ) -> tuple[TrainState, dict[str, Array]]:
    _check_master_weights(state.params)
    key = jax.random.fold_in(key, state.step)
    if split_key and axis_name is not None:
      key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
    params = collectives.device_local(state.params, axis_name)
    sums_of = lambda index, part: sums(params, key, index, part)
    local = _accumulate(sums_of, batch, num_microbatches, axis_name)
    grads, means = collectives.psum(local, axis_name)
    weight = means["loss"].weight
    grads = jax.tree.map(lambda g: masking.safe_divide(g, weight), grads)
    norm = _norm(grads)
    finite = jnp.isfinite(norm)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    new = (params, opt_state)
    new = _keep(finite, new, (state.params, state.opt_state))
    metrics = {name: mean.value for name, mean in means.items()}
    metrics["grad_norm"] = norm
    metrics["skipped_updates"] = (~finite).astype(jnp.int32)
    return TrainState(*new, state.step + 1), metrics

  return step
