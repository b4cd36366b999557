"""Sums and placements over devices; the identity where there is one."""

import math

import jax
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, PyTree

# The axes of a mesh over which the rows of a batch are split.
ROWS = ("data", "fsdp")

# One mapped axis, several that are summed over together, or none (jit).
AxisName = str | tuple[str, ...] | None


def axis_names(axis_name: AxisName) -> tuple[str, ...]:
  """The mapped axes as a tuple, empty for None."""
  if axis_name is None:
    return ()
  return (axis_name,) if isinstance(axis_name, str) else tuple(axis_name)


def psum(tree: PyTree, axis_name: AxisName) -> PyTree:
  """Adds every leaf over the devices of `axis_name`; None leaves it alone."""
  return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def device_local(tree: PyTree, axis_name: AxisName) -> PyTree:
  """Keeps gradients with respect to `tree` local to each device.

  shard_map's default check_vma=True already sums the gradients of replicated
  values; our own psum would then count every device N times. Leaves that
  vary over the axis already are left alone.
  """
  manual = jax.sharding.get_abstract_mesh().manual_axes
  names = [name for name in axis_names(axis_name) if name in manual]
  if not names:
    return tree  # jit has no axis; pmap's values are local already

  def cast(x):
    # pcast of an axis that a value already varies over is an error.
    missing = tuple(name for name in names if name not in _varying(x))
    return jax.lax.pcast(x, missing, to="varying") if missing else x

  return jax.tree.map(cast, tree)


def _varying(x) -> frozenset[str]:
  """The mapped axes over which shard_map says that `x` differs."""
  kind = jax.typeof(x)
  if hasattr(kind, "manual_axis_type"):
    return kind.manual_axis_type.varying
  return kind.vma  # before jax 0.10


def keep_rows(x: Array) -> Array:
  """Splits the leading axis over `ROWS` and nothing else; values stay.

  Under `training.mesh.within` only. Where parameters are split as well, the
  compiler must be told that they travel, and not the activations.
  """
  mesh = jax.sharding.get_abstract_mesh()
  names = tuple(name for name in ROWS if name in mesh.auto_axes)
  count = math.prod(mesh.shape[name] for name in names)
  if count == 1 or x.shape[0] % count:
    return x
  return jax.lax.with_sharding_constraint(x, P(names))
