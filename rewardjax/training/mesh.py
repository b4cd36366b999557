"""Device meshes from numbers, and shardings from rules on parameter paths.

    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    state = shard_tree(state, mesh, shard_rules())
    batch = shard_batch(batch, mesh)
    state, metrics = jax.jit(train_step)(state, batch, key)

`data` copies parameters and splits the batch; `fsdp` splits both; `tensor`
splits heads and hidden units. Numbers do not depend on the choice.
"""

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from rewardjax.core.collectives import ROWS

AXES = (*ROWS, "tensor")


class Rule(NamedTuple):
  """Where leaves go whose path `pattern` finds; a plain pair will do."""

  pattern: str  # a regular expression
  spec: P  # aligned with the *last* axes: layers or seeds may come before
  unit: int = 1  # so many neighbours are never cut apart: a head's channels


Rules = Sequence[Rule | tuple[str, P]]


def make_mesh(
    data: int = -1,
    fsdp: int = 1,
    tensor: int = 1,
    *,
    devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """A mesh with axes ("data", "fsdp", "tensor").

  Args:
    data: devices along the first axis; -1, for one axis, takes what is left.
    fsdp: devices along the second axis.
    tensor: devices along the third; neighbours, which talk most.
    devices: all devices if None.

  Raises:
    ValueError: if the sizes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else list(devices)
  sizes = dict(data=data, fsdp=fsdp, tensor=tensor)
  wrong = {k: n for k, n in sizes.items() if n != -1 and n < 1}
  free = [k for k, n in sizes.items() if n == -1]
  if wrong or len(free) > 1:
    raise ValueError(
        "make_mesh: sizes must be positive, and at most one of them -1, got "
        f"{sizes}."
    )
  fixed = math.prod(n for n in sizes.values() if n != -1)
  if free and len(devices) % fixed == 0:
    sizes[free[0]] = len(devices) // fixed
  if math.prod(sizes.values()) != len(devices):
    raise ValueError(
        "make_mesh: data * fsdp * tensor must be the number of devices, "
        f"{len(devices)}, got {sizes}."
    )
  return jax.make_mesh(
      tuple(sizes.values()),
      AXES,
      axis_types=(AxisType.Auto,) * len(AXES),
      devices=devices,
  )


def shard_rules(head_dim: int = 1) -> tuple[Rule, ...]:
  """Tensor parallelism of the transformers in `rewardjax.models`, by name.

  Projections into heads or hidden units are split by their outputs, those
  back by their inputs, and adapters of `models.lora` as their kernels. Tables
  are split by width: a scorer goes through blocks of the vocabulary, and a
  block of a table split by rows lies on one device. `shardings` adds fsdp to
  all that has not got it.

  Args:
    head_dim: channels of one head. Projections whose heads the tensor axis
      does not divide then stay whole; without it heads may be cut, which
      gives the same numbers by more messages.
  """
  into, back = P(None, "tensor"), P("tensor", None)
  table = P(None, ("fsdp", "tensor"))
  at = lambda names: rf"(^|/)({names})(_proj)?/kernel"
  heads, hidden = at("q|k|v|query|key|value"), at("gate|up")
  out, down = at("o|out"), at("down")
  return (
      Rule(rf"{heads}(/up)?$", into, head_dim),
      Rule(rf"{hidden}(/up)?$", into),
      Rule(rf"{out}(/down)?$", back, head_dim),
      Rule(rf"{down}(/down)?$", back),
      Rule(r"embedding$", table),
  )


def path_name(path: tuple) -> str:
  """A leaf's path as words joined by `/`, without brackets or dots."""
  return jax.tree_util.keystr(path, simple=True, separator="/")


def _axis_size(mesh: Mesh, names) -> int:
  names = (names,) if isinstance(names, str) else names or ()
  return math.prod(mesh.shape[name] for name in names)


def leaf_spec(
    name: str,
    shape: tuple[int, ...],
    mesh: Mesh,
    rules: Rules,
    min_size: int = 4096,
) -> P:
  """The spec of one leaf: its first matching rule, then fsdp.

  An axis that its mesh axes do not divide stays whole. `fsdp` goes to the
  largest axis that is whole and divisible, one of the last two if it can, of
  leaves with at least `min_size` elements; smaller ones are not worth the
  messages.
  """
  rules = (Rule(*rule) for rule in rules)
  found = (rule for rule in rules if re.search(rule.pattern, name))
  rule = next(found, Rule("", P()))
  entries = tuple(rule.spec)[-len(shape) :] if shape else ()
  spec = [None] * (len(shape) - len(entries)) + list(entries)
  for i, names in enumerate(spec):
    if names and shape[i] % (_axis_size(mesh, names) * rule.unit):
      spec[i] = None
  sharded = any("fsdp" in (n if isinstance(n, tuple) else (n,)) for n in spec)
  size = mesh.shape["fsdp"]
  whole = [i for i, n in enumerate(spec) if n is None and shape[i] % size == 0]
  if whole and size > 1 and not sharded and math.prod(shape) >= min_size:
    # Before a stack's own axis: a scan would fetch each layer from one device.
    matrix = len(shape) - 2
    spec[max(whole, key=lambda i: (i >= matrix, shape[i]))] = "fsdp"
  while spec and spec[-1] is None:
    spec.pop()
  return P(*spec)


def shardings(
    tree: PyTree, mesh: Mesh, rules: Rules, *, min_size: int = 4096
) -> PyTree:
  """A `NamedSharding` for every leaf of `tree` (arrays or their shapes).

  Optimiser moments have the paths of their parameters within their own, so
  one set of rules serves a whole `TrainState`.
  """

  def place(path, x):
    spec = leaf_spec(path_name(path), np.shape(x), mesh, rules, min_size)
    return NamedSharding(mesh, spec)

  return jax.tree_util.tree_map_with_path(place, tree)


def shard_tree(
    tree: PyTree, mesh: Mesh, rules: Rules, *, min_size: int = 4096
) -> PyTree:
  """Puts every leaf where `shardings` says.

  With several processes, each passes the same values.
  """
  placed = shardings(tree, mesh, rules, min_size=min_size)
  return jax.tree.map(_put, tree, placed)


def place_leaf(mesh: Mesh, rules: Rules, name: str, x: np.ndarray) -> jax.Array:
  """Puts one parameter, as it is read from a file, where its rule says."""
  spec = leaf_spec(name, x.shape, mesh, rules)
  return _put(x, NamedSharding(mesh, spec))


def batch_sharding(mesh: Mesh, *, leading: int = 0) -> NamedSharding:
  """Rows over (data, fsdp); `leading` axes before the rows stay whole."""
  return NamedSharding(mesh, P(*[None] * leading, ROWS))


def within(mesh: Mesh, function: Callable) -> Callable:
  """`function`, to be compiled, whose models know the mesh.

  There `core.collectives.keep_rows` holds activations where the rows of the
  batch are; left to itself the compiler splits them by their width, as the
  parameters are, and sends them around instead.
  """

  @functools.wraps(function)
  def inside(*args, **kwargs):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return function(*args, **kwargs)

  return inside


def shard_batch(batch: PyTree, mesh: Mesh, *, leading: int = 0) -> PyTree:
  """Splits the rows of every leaf over (data, fsdp).

  With several processes, each passes its own rows and gets the global array.

  Raises:
    ValueError: naming the leaf whose rows the devices do not divide.
  """
  sharding = batch_sharding(mesh, leading=leading)
  count = mesh.shape["data"] * mesh.shape["fsdp"]
  local = count // min(count, jax.process_count())

  def place(path, x):
    if np.ndim(x) <= leading or np.shape(x)[leading] % local:
      raise ValueError(
          f"shard_batch: axis {leading} of {path_name(path) or 'batch'} must "
          f"be a multiple of data * fsdp = {local}, got shape {np.shape(x)}."
      )
    if jax.process_count() == 1:
      return jax.device_put(x, sharding)
    return jax.make_array_from_process_local_data(sharding, np.asarray(x))

  return jax.tree_util.tree_map_with_path(place, batch)


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
  """Copies every leaf to all devices of the mesh."""
  return jax.tree.map(lambda x: _put(x, NamedSharding(mesh, P())), tree)


def _put(x, sharding: NamedSharding):
  is_key = jax.dtypes.issubdtype(getattr(x, "dtype", None), jax.dtypes.prng_key)
  if not is_key:
    return jax.device_put(x, sharding)
  # device_put refuses keys on devices of other processes; their data pass.
  data = jax.device_put(jax.random.key_data(x), sharding)
  return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
