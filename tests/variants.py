"""Ways to call one pure function that must all give the same numbers."""

import contextlib
import contextvars
import functools
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rewardjax.core.masking import Mean

_EAGER = contextvars.ContextVar("eager", default=False)


def eager(function: Callable) -> Callable:
  def call(*args, **kwargs):
    with op_by_op():
      return function(*args, **kwargs)

  return call


def vmapped(function: Callable) -> Callable:
  """Maps over the leading axis of every array argument, in one program."""

  def call(*args, **kwargs):
    def one(args):
      return function(*args, **kwargs)

    return jax.jit(jax.vmap(one))(args)

  return call


def sharded(function: Callable) -> Callable:
  """Compiles with the leading axis of every array over two devices.

  Implicit promotion between dtypes is an error; keyword arguments stay
  Python values.
  """

  def call(*args, **kwargs):
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    args = jax.device_put(
        jax.tree.map(jnp.asarray, args),
        NamedSharding(mesh, PartitionSpec("data")),
    )
    with jax.numpy_dtype_promotion("strict"):
      return jax.jit(lambda args: function(*args, **kwargs))(args)

  return call


def _parametrize(*variants):
  return pytest.mark.parametrize(
      "variant", variants, ids=lambda variant: variant.__name__
  )


# The test passes arrays with an even leading axis.
every = _parametrize(eager, vmapped, sharded)
# For functions that pool the samples of all rows.
pooled = _parametrize(eager, sharded)


@contextlib.contextmanager
def op_by_op():
  """Turns `programs` off inside."""
  token = _EAGER.set(True)
  try:
    yield
  finally:
    _EAGER.reset(token)


def programs(
    module: types.ModuleType, *, host: tuple[str, ...] = ()
) -> types.SimpleNamespace:
  """The public names of a module, each function as a `program`.

  Args:
    module: what is imported.
    host: names of functions that work on Python values, left as they are.
  """
  wrapped = lambda name, value: (
      program(value)
      if isinstance(value, types.FunctionType) and name not in host
      else value
  )
  return types.SimpleNamespace(**{
      name: wrapped(name, value)
      for name, value in vars(module).items()
      if not name.startswith("_")
  })


def grad(function: Callable, argnums=0) -> Callable:
  return program(jax.grad(function, argnums))


def value_and_grad(function: Callable, argnums=0) -> Callable:
  return program(jax.value_and_grad(function, argnums))


def program(function: Callable) -> Callable:
  """Calls a function as one program, and returns NumPy arrays.

  Compiling once is cheaper than once per operation. Arrays are traced, other
  arguments are static. A call with NaN, infinities or narrow floats still
  runs op by op: there XLA may give zero where the single operations give
  NaN, or keep more bits than they do.
  """

  @functools.partial(jax.jit, static_argnums=0)
  def run(static, arrays):
    leaves = [arrays.get(i, x) for i, x in enumerate(static.leaves)]
    args, kwargs = jax.tree.unflatten(static.tree, leaves)
    return function(*args, **kwargs)

  @functools.wraps(function)
  def call(*args, **kwargs):
    leaves, tree = jax.tree.flatten((args, kwargs))
    arrays = {i: x for i, x in enumerate(leaves) if _is_array(x)}
    if not arrays:
      return function(*args, **kwargs)
    traced = any(isinstance(x, jax.core.Tracer) for x in leaves)
    inside = traced or _EAGER.get()
    if not inside and all(map(_is_plain, arrays.values())):
      rest = [None if i in arrays else x for i, x in enumerate(leaves)]
      return _to_numpy(run(_Static(rest, tree), arrays))
    leaves = [jnp.asarray(x) if _is_array(x) else x for x in leaves]
    args, kwargs = jax.tree.unflatten(tree, leaves)
    with op_by_op():
      found = function(*args, **kwargs)
    return found if inside else _to_numpy(found)

  return call


def _is_array(x) -> bool:
  if isinstance(x, float):  # np.float64 is a Python number, too
    return False
  return isinstance(x, jax.Array | np.ndarray | np.generic)


def _is_plain(x) -> bool:
  if not jnp.issubdtype(x.dtype, jnp.inexact):
    return True
  return x.dtype.itemsize > 2 and bool(np.all(np.isfinite(x)))


def _to_numpy(tree):
  def one(x):
    is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return x if is_key or isinstance(x, jax.core.Tracer) else np.asarray(x)

  # The properties of a mean are annotated with jax arrays.
  return jax.tree.map(
      lambda x: one(x) if _is_array(x) else x,
      tree,
      is_leaf=lambda x: isinstance(x, Mean),
  )


class _Static:
  """Arguments that are no arrays: 1, 1.0 and True are three of them."""

  def __init__(self, leaves: list, tree: Any):
    self.leaves, self.tree = leaves, tree
    # -0.0 is not 0.0.
    text = lambda x: repr(x) if isinstance(x, float) else x
    self._key = tree, tuple((type(x), text(x)) for x in leaves)

  def __eq__(self, other):
    return self._key == other._key

  def __hash__(self):
    return hash(self._key)
