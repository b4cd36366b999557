"""Low-rank updates of frozen parameters, as functions on pytrees.

    lora = init_lora(key, params, rank=8)
    features(model, attach(params, lora), tokens, mask)  # the policy
    features(model, params, tokens, mask)                # its reference

Train `lora`, keep `params`: they *are* the reference, equal to the policy at
the first step. Nothing is switched on or off. `merge` makes plain parameters
of the same function, to export them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from rewardjax.core import checks
from rewardjax.models.layers import Adapted
from rewardjax.types import Scalar


class LowRank(NamedTuple):
  """down @ up is added to a kernel [*stack, in, out]."""

  down: Float[Array, "*stack inputs rank"]
  up: Float[Array, "*stack rank outputs"]


Lora = dict[str, LowRank]  # by the path of the kernel, as "layers_0/mlp/up/..."


def is_kernel(path: str) -> bool:
  """Whether a path names the kernel of a dense layer."""
  return path.endswith("kernel")


def init_lora(
    key: Key[Array, ""],
    params: PyTree,
    *,
    rank: int,
    match: Callable[[str], bool] = is_kernel,
) -> Lora:
  """Adapters for every matching kernel; `merge` changes nothing yet.

  Args:
    key: consumed.
    params: of the frozen model; stacked layers `[L, in, out]` get one
      adapter per layer.
    rank: of each update (static).
    match: takes a path such as `layers_0/attention/query/kernel`.

  Returns:
    `down` is random, `up` is 0: the first gradient reaches `up` only.

  Raises:
    ValueError: if rank < 1, nothing matches, or a match is no matrix.

  References:
    Hu et al., "LoRA", 2021, arXiv:2106.09685, Sec. 4.1.
  """
  checks.at_least("init_lora", 1, rank=rank)
  kernels = {path: x for path, x in _leaves(params) if match(path)}
  if not kernels:
    raise ValueError(
        f"init_lora: match must accept some path, got none of "
        f"{[path for path, _ in _leaves(params)]}."
    )
  lora = {}
  for one, (path, x) in zip(
      jax.random.split(key, len(kernels)), kernels.items()
  ):
    if x.ndim < 2:
      raise ValueError(
          f"init_lora: {path} must be a matrix, got shape {x.shape}."
      )
    *stack, inputs, outputs = x.shape
    down = jax.random.normal(one, (*stack, inputs, rank), x.dtype)
    scale = jnp.asarray(inputs**-0.5, x.dtype)
    lora[path] = LowRank(
        down * scale, jnp.zeros((*stack, rank, outputs), x.dtype)
    )
  return lora


def attach(params: PyTree, lora: Lora, *, scale: Scalar = 1.0) -> PyTree:
  """params whose adapted kernels carry their updates beside them.

  The models of this package take them in the place of plain kernels. The
  update is never multiplied out, so that training `lora` alone needs neither
  memory nor arithmetic for gradients of the kernels, and one copy of `params`
  serves any number of adapters under `vmap`.

  Gradient: to both; differentiate with respect to `lora` to train it alone.

  Raises:
    ValueError: if an adapter's path is not in `params`.
  """
  add = lambda x, low: Adapted(x, low.down, _scaled(low.up, scale))
  return _map_adapted("attach", add, params, lora)


def merge(params: PyTree, lora: Lora, *, scale: Scalar = 1.0) -> PyTree:
  """params with scale * down @ up added to each adapted kernel.

  Gradient: to both.

  Raises:
    ValueError: if an adapter's path is not in `params`.
  """
  add = lambda x, low: x + low.down @ _scaled(low.up, scale)
  return _map_adapted("merge", add, params, lora)


def _scaled(x, scale):
  return jnp.asarray(scale, x.dtype) * x


def _map_adapted(where, add, params, lora):
  missing = lora.keys() - {path for path, _ in _leaves(params)}
  if missing:
    raise ValueError(f"{where}: params must hold {sorted(missing)}.")

  def one(path, x):
    low = lora.get(_name(path))
    return x if low is None else add(x, low)

  return jax.tree_util.tree_map_with_path(one, params)


def count(tree: PyTree) -> int:
  """Number of parameters."""
  return sum(x.size for x in jax.tree.leaves(tree))


def _name(path):
  return jax.tree_util.keystr(path, simple=True, separator="/")


def _leaves(params):
  return [
      (_name(path), x)
      for path, x in jax.tree_util.tree_leaves_with_path(params)
  ]
