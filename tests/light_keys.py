"""Random keys whose bits compile quickly, where a test compares no draws.

Every call of `jax.random` with the usual keys puts loops of 20 rounds into a
program; a hash of a counter is a handful of operations.
"""

import contextlib
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import random as extended


def _mix(x):
  """The end of MurmurHash3: every bit of a word moves every other."""
  for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
    x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
  return x ^ (x >> np.uint32(16))


def _words(key, stream, shape):
  """A word for each place of an array, `stream` a number below 2**32."""
  count = jax.lax.iota(np.uint32, math.prod(shape)).reshape(shape)
  first = _mix(count * np.uint32(0x9E3779B9) + key[0])
  return _mix(first + key[1] + np.uint32(stream))


@functools.partial(jax.jit, inline=True)
def _seed(seed):
  low = jnp.asarray(seed).astype(np.uint32)
  return jnp.stack([_mix(low), ~low])


@functools.partial(jax.jit, static_argnums=1, inline=True)
def _split(key, shape):
  return _words(key, 1, (*shape, 2))


@functools.partial(jax.jit, inline=True)
def _fold_in(key, data):
  return _words(key + _mix(data.astype(np.uint32)), 2, (2,))


@functools.partial(jax.jit, static_argnums=(1, 2), inline=True)
def _random_bits(key, bit_width, shape):
  if bit_width == 64:
    high, low = (_words(key, i, shape).astype(np.uint64) for i in (3, 4))
    return high << np.uint64(32) | low
  return _words(key, 3, shape).astype(f"uint{bit_width}")


IMPL = extended.define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="counter_hash",
    tag="hash",
)


@contextlib.contextmanager
def used():
  """`jax.random.key` makes such keys."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
        jax.random, "key", functools.partial(jax.random.key, impl=IMPL)
    )
    yield
