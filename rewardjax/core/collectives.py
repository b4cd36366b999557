"""Sums over devices that are the identity where no axis is mapped."""

import jax
from jaxtyping import PyTree


def psum(tree: PyTree, axis_name: str | None) -> PyTree:
  """Adds every leaf over the devices of `axis_name`; None leaves it alone."""
  return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def device_local(tree: PyTree, axis_name: str | None) -> PyTree:
  """Keeps gradients with respect to `tree` local to each device.

  shard_map's default check_vma=True already sums the gradients of replicated
  values; our own psum would then count every device N times.
  """
  if axis_name is None:
    return tree
  if axis_name in jax.sharding.get_abstract_mesh().manual_axes:
    return jax.lax.pcast(tree, axis_name, to="varying")
  return tree  # pmap: values are local already
