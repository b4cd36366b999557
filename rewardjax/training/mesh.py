"""Device meshes from numbers, and shardings from rules on parameter paths.

    mesh = make_mesh(data=2, fsdp=2, tensor=2)
    state = shard_tree(state, mesh, shard_rules())
    batch = shard_batch(batch, mesh)
    state, metrics = jax.jit(train_step)(state, batch, key)

`data` copies parameters and splits the batch; `fsdp` splits both; `tensor`
splits heads and hidden units. Numbers do not depend on the choice.
"""

import math
import re
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

AXES = ("data", "fsdp", "tensor")

# A regular expression on the path of a leaf, and its spec, aligned with the
# *last* axes: stacked layers or seeds may come before.
Rule = tuple[str, P]


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


def shard_rules() -> tuple[Rule, ...]:
  """Tensor parallelism of the transformers in `rewardjax.models`, by name.

  Projections into heads or hidden units are split by their outputs, those
  back by their inputs, tables by vocabulary. `shardings` adds the fsdp axis.
  """
  into = r"(^|/)(q|k|v|query|key|value|gate|up)(_proj)?/kernel$"
  back = r"(^|/)(o|out|down)(_proj)?/kernel$"
  return (
      (into, P(None, "tensor")),
      (back, P("tensor", None)),
      (r"embedding$", P("tensor", None)),
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
    rules: Sequence[Rule],
    min_size: int = 4096,
) -> P:
  """The spec of one leaf: its first matching rule, then fsdp.

  An axis that its mesh axes do not divide stays whole. `fsdp` goes to the
  largest axis that is whole and divisible, of leaves with at least
  `min_size` elements; smaller ones are not worth the messages.
  """
  rule = next((spec for regex, spec in rules if re.search(regex, name)), P())
  entries = tuple(rule)[-len(shape) :] if shape else ()
  spec = [None] * (len(shape) - len(entries)) + list(entries)
  for i, names in enumerate(spec):
    if shape[i] % _axis_size(mesh, names):
      spec[i] = None
  sharded = any("fsdp" in (n if isinstance(n, tuple) else (n,)) for n in spec)
  size = mesh.shape["fsdp"]
  whole = [i for i, n in enumerate(spec) if n is None and shape[i] % size == 0]
  if whole and size > 1 and not sharded and math.prod(shape) >= min_size:
    spec[max(whole, key=lambda i: shape[i])] = "fsdp"
  while spec and spec[-1] is None:
    spec.pop()
  return P(*spec)


def shardings(
    tree: PyTree, mesh: Mesh, rules: Sequence[Rule], *, min_size: int = 4096
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
    tree: PyTree, mesh: Mesh, rules: Sequence[Rule], *, min_size: int = 4096
) -> PyTree:
  """Puts every leaf where `shardings` says.

  With several processes, each passes the same values.
  """
  placed = shardings(tree, mesh, rules, min_size=min_size)
  return jax.tree.map(_put, tree, placed)


def batch_sharding(mesh: Mesh, *, leading: int = 0) -> NamedSharding:
  """Rows over (data, fsdp); `leading` axes before the rows stay whole."""
  return NamedSharding(mesh, P(*[None] * leading, ("data", "fsdp")))


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
