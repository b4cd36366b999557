"""Ways to call one pure function that must all give the same numbers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def eager(function: Callable) -> Callable:
  return function


def vmapped(function: Callable) -> Callable:
  """Maps over the leading axis of every array argument, in one program."""

  def call(*args, **kwargs):
    def one(args):
      return function(*args, **kwargs)

    return jax.jit(jax.vmap(one))(args)

  return call


def strict(function: Callable) -> Callable:
  """Implicit promotion between dtypes is an error, in one program."""

  def call(*args, **kwargs):
    with jax.numpy_dtype_promotion("strict"):
      return jitted(function)(*args, **kwargs)

  return call


def sharded(function: Callable) -> Callable:
  """Compiles with the leading axis of every array over two devices."""

  def call(*args, **kwargs):
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    place = lambda x: jax.device_put(
        x, NamedSharding(mesh, PartitionSpec("data"))
    )
    return jax.jit(lambda args: function(*args, **kwargs))(
        jax.tree.map(lambda x: place(jnp.asarray(x)), args)
    )

  return call


def jitted(function: Callable) -> Callable:
  """Compiles; keyword arguments stay Python values."""

  def call(*args, **kwargs):
    return jax.jit(lambda args: function(*args, **kwargs))(args)

  return call


# The test passes arrays with an even leading axis.
every = pytest.mark.parametrize(
    "variant",
    [eager, jitted, vmapped, strict, sharded],
    ids=lambda variant: variant.__name__,
)
