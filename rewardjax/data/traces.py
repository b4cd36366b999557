"""Step-by-step computations on short integer lists, and their corruption.

A `Program` turns L inputs into N states, one line of the trace each; every
symbol is in 0 .. base-1. Static noise corrupts a finished trace and leaves
the answer right; dynamic noise corrupts the state while the program runs, so
that later lines and the answer inherit the error.

References:
  "Understanding the Effect of Noise in LLM Training Data with Algorithmic
    Chains of Thought" (the TInt data sets).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from rewardjax.core import checks
from rewardjax.types import Scalar

StaticKind = Literal["replace", "delete", "swap"]


class Program(NamedTuple):
  """How inputs [L] become states [N, S] and an answer [A]; all static.

  num_steps: N.
  base: symbols are 0 .. base-1.
  start: inputs [L] -> state [S], which is not part of the trace.
  step: (state [S], inputs [L], index) -> state [S].
  answer: last state [S] -> answer [A].
  """

  num_steps: int
  base: int
  start: Callable
  step: Callable
  answer: Callable


def _to_digits(value, base, width):
  """The lowest `width` digits, most significant first."""
  return value // base ** jnp.arange(width - 1, -1, -1) % base


def _from_digits(digits, base):
  return jnp.sum(digits * base ** jnp.arange(digits.shape[-1] - 1, -1, -1))


def affine(base: int, length: int, *, factor: int = 2) -> Program:
  """s <- (factor * s + x) mod base, from 0; the answer is the last s."""
  return Program(
      length,
      base,
      lambda inputs: jnp.zeros((1,), inputs.dtype),
      lambda state, inputs, t: (factor * state + inputs[t]) % base,
      lambda state: state,
  )


def running_sum(base: int, length: int) -> Program:
  """s <- s + x, written in as many digits as the largest sum needs."""
  width = 1
  while base**width <= length * (base - 1):
    width += 1

  def step(state, inputs, t):
    return _to_digits(_from_digits(state, base) + inputs[t], base, width)

  start = lambda inputs: jnp.zeros((width,), inputs.dtype)
  return Program(length, base, start, step, lambda state: state)


def product(base: int, length: int) -> Program:
  """The number with digits x_1 .. x_{L-1} times the digit x_L.

  Long multiplication, a digit at a time from the right. The state holds the
  product from its end: position t takes digit t, position t + 1 the carry.
  """
  checks.at_least("product", 2, length=length)

  def step(state, inputs, t):
    whole = inputs[length - 2 - t] * inputs[-1] + state[t]
    return state.at[t].set(whole % base).at[t + 1].set(whole // base)

  start = lambda inputs: jnp.zeros((length,), inputs.dtype)
  return Program(length - 1, base, start, step, lambda state: state[::-1])


def _select(state, inputs, t):
  """Exchanges entry t with the first smallest of the entries from t on."""
  del inputs
  late = jnp.arange(state.shape[-1]) >= t
  least = jnp.argmin(jnp.where(late, state, jnp.iinfo(state.dtype).max))
  return state.at[t].set(state[least]).at[least].set(state[t])


def selection_sort(base: int, length: int) -> Program:
  """Ascending order by repeated selection of the smallest; L - 1 lines."""
  checks.at_least("selection_sort", 2, length=length)
  keep = lambda x: x
  return Program(length - 1, base, keep, _select, keep)


def median(base: int, length: int) -> Program:
  """The lower median: selection stops when it stands in its place."""
  middle = (length - 1) // 2
  pick = lambda state: state[middle : middle + 1]
  return Program(middle + 1, base, lambda x: x, _select, pick)


class Run(NamedTuple):
  """What a program did.

  states: after each step; `before` are those each step started from.
  answer: read from the last state.
  replaced: entries of `states` that noise drew anew, perhaps as they were.
  """

  states: Int[Array, "N S"]
  before: Int[Array, "N S"]
  answer: Int[Array, " A"]
  replaced: Bool[Array, "N S"]


def run(
    program: Program,
    inputs: Int[Array, " L"],
    key: Key[Array, ""] | None = None,
    *,
    intensity: Scalar = 0.0,
) -> Run:
  """Runs the program; with a key, under dynamic noise.

  After each step every symbol of the state is, with probability `intensity`,
  drawn anew from all symbols, and the next step goes on from there. The draw
  may give the old symbol, so a symbol changes with probability
  intensity * (base - 1) / base.

  Args:
    program: static.
    inputs: symbols 0 .. base-1.
    key: consumed; None runs without noise.
    intensity: a probability; needs a key unless it is 0.

  Raises:
    ValueError: if `intensity` is no probability, or has no key.
  """
  checks.probability("run", intensity=intensity)
  if key is None and not (isinstance(intensity, int | float) and not intensity):
    raise ValueError(f"run: intensity {intensity} needs a key, got None.")
  start = program.start(inputs)
  shape = (program.num_steps, *start.shape)
  hit, new = jnp.zeros(shape, bool), jnp.zeros(shape, start.dtype)
  if key is not None:
    # All at once: random bits in the loop would cost more than the steps.
    hit, new = _draws(key, shape, start.dtype, program.base, intensity)

  def advance(state, now):
    t, hit, new = now
    after = jnp.where(hit, new, program.step(state, inputs, t))
    return after, (after, state)

  steps = (jnp.arange(program.num_steps), hit, new)
  last, (states, before) = jax.lax.scan(advance, start, steps)
  return Run(states, before, program.answer(last), hit)


def _draws(key, shape, dtype, base, intensity):
  """What is hit, and the symbol it then becomes."""
  uniforms = jax.random.uniform(key, (2, *shape))
  # `minimum`: the product of a uniform near 1 may round up to base.
  new = jnp.floor(uniforms[1] * base).astype(dtype)
  return uniforms[0] < intensity, jnp.minimum(new, base - 1)


def replace_symbols(
    key: Key[Array, ""],
    symbols: Int[Array, "*shape"],
    *,
    base: int,
    intensity: Scalar,
) -> tuple[Int[Array, "*shape"], Bool[Array, "*shape"]]:
  """Draws each symbol anew with probability `intensity`; `key` is consumed.

  Returns:
    The symbols, and where they were drawn anew (perhaps as they were).
  """
  checks.probability("replace_symbols", intensity=intensity)
  hit, new = _draws(key, symbols.shape, symbols.dtype, base, intensity)
  return jnp.where(hit, new, symbols), hit


def delete_symbols(
    key: Key[Array, ""], mask: Bool[Array, "*shape"], *, intensity: Scalar
) -> Bool[Array, "*shape"]:
  """The mask less what is deleted, each with probability `intensity`."""
  checks.probability("delete_symbols", intensity=intensity)
  return mask & (jax.random.uniform(key, mask.shape) >= intensity)


def swap_lines(
    key: Key[Array, ""], num_lines: int, *, intensity: Scalar
) -> Int[Array, " N"]:
  """The order of lines after exchanging neighbours; `key` is consumed.

  From the top, each line changes places with the next one with probability
  `intensity`; at 1 the first line ends up last.
  """
  checks.probability("swap_lines", intensity=intensity)
  hits = jax.random.uniform(key, (num_lines,)) < intensity

  def exchange(order, t):
    swapped = order.at[t].set(order[t + 1]).at[t + 1].set(order[t])
    return jnp.where(hits[t], swapped, order), None

  order = jnp.arange(num_lines)
  return jax.lax.scan(exchange, order, jnp.arange(num_lines - 1))[0]
