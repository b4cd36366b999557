"""What a checkpoint says about its leaves, so that it can be verified."""

import base64
import itertools
import json
import zlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree, UInt32


class DamagedError(Exception):
  """A checkpoint whose files do not hold what was saved."""


def _is_key(x) -> bool:
  return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _named_leaves(tree: PyTree) -> list[tuple[str, Any]]:
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return [(jax.tree_util.keystr(path), x) for path, x in leaves]


def _describe(x) -> dict[str, Any]:
  dtype = x.dtype if hasattr(x, "dtype") else type(x).__name__
  return {"shape": list(np.shape(x)), "dtype": str(dtype)}


def encode(tree: PyTree) -> list:
  """The leaves as plain arrays.

  Raises:
    TypeError: naming the path of a leaf that is no array of numbers.
  """
  leaves = []
  for name, x in _named_leaves(tree):
    if _is_key(x):
      x = jax.random.key_data(x)
    elif not isinstance(x, jax.Array):
      if not isinstance(x, (np.ndarray, np.generic, bool, int, float)):
        raise TypeError(
            f"save: leaf {name} must be an array, a key or a number, got "
            f"{type(x).__name__}."
        )
      x = np.asarray(x)
    if isinstance(x, np.ndarray) and x.dtype.hasobject:
      raise TypeError(f"save: leaf {name} holds Python objects.")
    leaves.append(x)
  return leaves


def decode(target: PyTree, leaves: Sequence) -> PyTree:
  """Gives plain arrays the types that the leaves of `target` have."""
  wanted, structure = jax.tree.flatten(target)
  return structure.unflatten([_decode(t, x) for t, x in zip(wanted, leaves)])


def _decode(target, x):
  if isinstance(target, (bool, int, float)):
    return type(target)(np.asarray(x).item())
  if isinstance(target, np.generic):
    return target.dtype.type(np.asarray(x).item())
  if not isinstance(x, jax.Array):
    return x
  if _is_free(target):
    x = jnp.array(np.asarray(x))
  if not _is_key(target):
    return x
  return jax.random.wrap_key_data(x, impl=_key_impl(target))


def _key_impl(target) -> str:
  found = []
  # key_impl refuses ShapeDtypeStructs, but not tracers of them.
  jax.eval_shape(lambda x: found.append(jax.random.key_impl(x)), target)
  return found[0]


def _is_free(target) -> bool:
  """Whether jit may move an array to other devices.

  What was free must stay so: bound to a device, it would be an error beside
  arrays on a mesh, and a second compilation elsewhere.
  """
  return target.sharding is None or not getattr(target, "committed", True)


def abstract_leaves(target: PyTree) -> list:
  """Shapes, dtypes and shardings onto which plain leaves are restored."""
  return [_abstract(x) for x in jax.tree.leaves(target)]


def _abstract(x):
  if not isinstance(x, (jax.Array, jax.ShapeDtypeStruct)):
    return np.zeros_like(np.asarray(x))
  sharding = x.sharding
  if sharding is None:
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  if _is_key(x):  # its data has one more axis, whole
    x = jax.eval_shape(jax.random.key_data, x)
  if 0 in x.shape:  # nothing to read
    return jnp.zeros(x.shape, x.dtype, device=sharding)
  return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


@jax.jit
def _fingerprint(x: Array) -> UInt32[Array, ""]:
  """Sum over words of a one-to-one mix of each with its place, modulo 2^32.

  A change of one word always changes the sum, and one of several all but
  always; integer sums do not depend on how the leaf lies on devices.
  """
  if jnp.iscomplexobj(x):
    x = jnp.stack([x.real, x.imag])
  if x.dtype == jnp.bool_:
    x = x.astype(jnp.uint8)
  unsigned = {1: jnp.uint8, 2: jnp.uint16}.get(x.dtype.itemsize, jnp.uint32)
  words = jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32)
  place = jnp.zeros(words.shape, jnp.uint32)
  for axis, size in enumerate(words.shape):
    index = jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    place = place * jnp.uint32(size % 2**32) + index
  h = words + place * jnp.uint32(0x9E3779B1)
  # The finaliser of MurmurHash3: without it, flips of an even number of
  # signs would cancel.
  h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
  h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
  return jnp.sum(h ^ (h >> 16), dtype=jnp.uint32)


def fingerprints(leaves: Sequence) -> list[int]:
  """One number per leaf that any flipped bit changes."""
  # A program per shape, which leaves and trees share, and one wait for all.
  of = lambda x: (
      _fingerprint(x) if isinstance(x, jax.Array) else zlib.crc32(x.tobytes())
  )
  return [int(x) for x in jax.device_get([of(x) for x in leaves])]


def _to_json(x):
  if isinstance(x, bytes):
    return {"__bytes__": base64.b64encode(x).decode()}
  if isinstance(x, (np.generic, np.ndarray)):
    return x.tolist()
  raise TypeError(f"save: extra holds a {type(x).__name__}, not JSON.")


def _from_json(x):
  return base64.b64decode(x["__bytes__"]) if set(x) == {"__bytes__"} else x


def make(tree: PyTree, leaves: Sequence, extra: Any) -> dict[str, Any]:
  """The manifest of `tree`, whose plain leaves are `leaves`."""
  rows = [
      {"path": name, **_describe(x), "fingerprint": number}
      for (name, x), number in zip(_named_leaves(tree), fingerprints(leaves))
  ]
  body = json.dumps({"leaves": rows, "extra": extra}, default=_to_json)
  return {"body": body, "crc32": zlib.crc32(body.encode())}


def verify(stored: Any) -> dict[str, Any]:
  """The contents of a manifest; raises DamagedError if they were changed."""
  try:
    body, crc32 = stored["body"], stored["crc32"]
    intact = zlib.crc32(body.encode()) == crc32
  except (AttributeError, KeyError, TypeError):
    intact = False
  if not intact:
    raise DamagedError("its manifest was changed")
  return json.loads(body, object_hook=_from_json)


def check_same_tree(manifest: dict[str, Any], target: PyTree, where) -> None:
  """Raises ValueError at the first path where saved and target differ."""
  saved = [(r["path"], r["shape"], r["dtype"]) for r in manifest["leaves"]]
  wanted = [(n, *_describe(x).values()) for n, x in _named_leaves(target)]
  show = lambda leaf: f"{leaf[0]} ({leaf[2]}{leaf[1]})" if leaf else "no leaf"
  for one, other in itertools.zip_longest(saved, wanted):
    if one != other:
      raise ValueError(
          f"restore: {where} and the target first differ where the checkpoint "
          f"has {show(one)} and the target {show(other)}."
      )


def check_fingerprints(manifest: dict[str, Any], leaves: Sequence) -> None:
  """Raises DamagedError naming the leaf whose values are not those saved."""
  for row, number in zip(manifest["leaves"], fingerprints(leaves)):
    if row["fingerprint"] != number:
      raise DamagedError(f"leaf {row['path']} does not match its fingerprint")
