"""Interpretable factors of a step's reward, given as source text.

    factor = compile_factor("norm(obs[0:2] - obs[2:4]) + 0.1 * sum(act ** 2)")
    factor(obs, act)     # [..., O], [..., A] -> [...]

The text may come from anywhere, a language model included: it is parsed, not
executed. Only arithmetic, comparisons, a fixed list of functions, and slices
of `obs`, `act` and `next_obs` along their last axis are known. A step sees
itself only, so a factor cannot leak what happens later; `next_obs` is seen
where the caller gives it.

References:
  "Latent Reward: LLM-Empowered Credit Assignment in Episodic Reinforcement
    Learning" (LaRe).
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from rewardjax.core import checks

_MAX_NODES = 200
_INPUTS = ("obs", "act", "next_obs")


class FactorError(ValueError):
  """The text is no factor; the message says why, to whoever wrote it."""


def _norm(x):
  # The gradient of a root at 0 is infinite.
  square = jnp.sum(jnp.square(x), axis=-1)
  return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0)


# Reductions act on the last axis, the components of one step.
_FUNCTIONS = {
    "abs": jnp.abs,
    "exp": lambda x: jnp.exp(jnp.minimum(x, 30.0)),
    "log": lambda x: jnp.log(jnp.maximum(x, 1e-6)),
    "sqrt": lambda x: jnp.sqrt(jnp.maximum(x, 0.0)),
    "tanh": jnp.tanh,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "sign": jnp.sign,
    "square": jnp.square,
    "minimum": jnp.minimum,
    "maximum": jnp.maximum,
    "clip": jnp.clip,
    "where": lambda test, x, y: jnp.where(test > 0, x, y),
    "norm": _norm,
    "sum": lambda x: jnp.sum(x, axis=-1),
    "mean": lambda x: jnp.mean(x, axis=-1),
    "max": lambda x: jnp.max(x, axis=-1),
    "min": lambda x: jnp.min(x, axis=-1),
}
_OPERATORS = {
    ast.Add: jnp.add,
    ast.Sub: jnp.subtract,
    ast.Mult: jnp.multiply,
    ast.Div: jnp.divide,
    ast.USub: jnp.negative,
    ast.UAdd: lambda x: x,
    ast.Lt: jnp.less,
    ast.LtE: jnp.less_equal,
    ast.Gt: jnp.greater,
    ast.GtE: jnp.greater_equal,
}

Factor = Callable[..., Float[Array, "*batch"]]


def compile_factor(source: str) -> Factor:
  """Turns one expression into `(obs, act, next_obs=None) -> factor`.

  The factor is jittable, differentiable, and maps arrays `[..., O]`,
  `[..., A]` to `[...]`.

  Raises:
    FactorError: at once if the text holds anything that is not allowed; when
      called, if it does not reduce a step to one number or an index is out
      of range.
  """
  try:
    tree = ast.parse(source.strip(), mode="eval").body
    size = sum(1 for _ in ast.walk(tree))
  except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
    raise FactorError(f"no expression: {error}.") from None
  if size > _MAX_NODES:
    raise FactorError(f"{size} parts, at most {_MAX_NODES}.")
  _check(tree)

  def factor(obs, act, next_obs=None):
    inputs = {"obs": obs, "act": act, "next_obs": next_obs}
    try:
      result = jnp.asarray(_evaluate(tree, inputs), jnp.float32)
    except (TypeError, ValueError, IndexError) as error:
      raise FactorError(f"{source!r} does not run: {error}") from None
    batch = obs.shape[:-1]
    if result.shape not in ((), batch):
      raise FactorError(
          f"{source!r} gives shape {result.shape} for steps of shape {batch}: "
          "reduce or index obs and act to one number."
      )
    return jnp.broadcast_to(result, batch)

  return factor


def _check(node: ast.expr) -> None:
  """Raises FactorError unless every part is on the list."""
  if isinstance(node, ast.Constant):
    if type(node.value) not in (int, float) or not abs(node.value) < 1e9:
      raise FactorError(f"constant {ast.unparse(node)[:40]} is not allowed.")
  elif isinstance(node, ast.Name):
    if node.id not in _INPUTS:
      raise FactorError(f"name {node.id!r}; known are {', '.join(_INPUTS)}.")
  elif isinstance(node, ast.Subscript):
    if not isinstance(node.value, ast.Name) or node.value.id not in _INPUTS:
      raise FactorError(f"only {', '.join(_INPUTS)} can be indexed.")
    _index(node.slice)
  elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
    _check(node.left)
    power = node.right
    if not (isinstance(power, ast.Constant) and power.value in (1, 2, 3, 4)):
      raise FactorError("powers must be 1, 2, 3 or 4.")
  elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
    _check(node.left)
    _check(node.right)
  elif isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
    _check(node.operand)
  elif isinstance(node, ast.Compare) and len(node.ops) == 1:
    if type(node.ops[0]) not in _OPERATORS:
      raise FactorError("only <, <=, > and >= compare.")
    _check(node.left)
    _check(node.comparators[0])
  elif isinstance(node, ast.Call):
    known = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
    if not known or node.keywords:
      raise FactorError(
          f"call {ast.unparse(node)[:40]!r}; known functions are "
          f"{', '.join(_FUNCTIONS)}, without keywords."
      )
    for argument in node.args:
      _check(argument)
  else:
    raise FactorError(f"{type(node).__name__} is not allowed.")


def _index(node) -> int | slice:
  """An integer, or a slice of integers without a step."""
  number = lambda part: None if part is None else _integer(part)
  if isinstance(node, ast.Slice):
    if node.step is not None:
      raise FactorError("slices have no step.")
    return slice(number(node.lower), number(node.upper))
  return _integer(node)


def _integer(node) -> int:
  sign = 1
  if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
    sign, node = -1, node.operand
  if not (isinstance(node, ast.Constant) and type(node.value) is int):
    raise FactorError("an index must be an integer or a slice of integers.")
  return sign * node.value


def _evaluate(node, inputs: Mapping[str, Array | None]):
  if isinstance(node, ast.Constant):
    return jnp.asarray(node.value, jnp.float32)
  if isinstance(node, ast.Name | ast.Subscript):
    return _read(node, inputs)
  if isinstance(node, ast.Call):
    arguments = [_evaluate(x, inputs) for x in node.args]
    return _FUNCTIONS[node.func.id](*arguments)
  if isinstance(node, ast.UnaryOp):
    return _OPERATORS[type(node.op)](_evaluate(node.operand, inputs))
  if isinstance(node, ast.Compare):
    left, right = node.left, node.comparators[0]
    test = _OPERATORS[type(node.ops[0])]
    return test(_evaluate(left, inputs), _evaluate(right, inputs)) * 1.0
  left = _evaluate(node.left, inputs)
  if isinstance(node.op, ast.Pow):
    return left ** int(node.right.value)
  return _OPERATORS[type(node.op)](left, _evaluate(node.right, inputs))


def _read(node, inputs):
  name = node.id if isinstance(node, ast.Name) else node.value.id
  value = inputs[name]
  if value is None:
    raise ValueError(f"{name} is not given.")
  if isinstance(node, ast.Name):
    return value
  index = _index(node.slice)
  size = value.shape[-1]
  # Out of range, jnp would clamp and go on.
  if isinstance(index, int) and not -size <= index < size:
    raise ValueError(f"{name}[{index}] of {size} components.")
  return value[..., index]


class Report(NamedTuple):
  """What a probe batch says of one text; `problem` is "" if it may be used."""

  source: str
  problem: str
  std: float  # of the factor over the probe


def verify_factors(
    sources: Sequence[str],
    obs: Float[Array, "*batch O"],
    act: Float[Array, "*batch A"],
    next_obs: Float[Array, "*batch O"] | None = None,
    *,
    max_magnitude: float | int = 1e6,
) -> list[Report]:
  """Runs each text on a probe batch; the problems can be sent back.

  A factor must run, be finite, stay below `max_magnitude` and not be
  constant.
  """
  checks.at_least("verify_factors", 0.0, max_magnitude=max_magnitude)
  return [_report(s, (obs, act, next_obs), max_magnitude) for s in sources]


def _report(source, inputs, max_magnitude) -> Report:
  try:
    values = compile_factor(source)(*inputs)
  except FactorError as error:
    return Report(source, str(error), 0.0)
  if not bool(jnp.all(jnp.isfinite(values))):
    return Report(source, "not finite on the probe.", 0.0)
  if float(jnp.max(jnp.abs(values))) > max_magnitude:
    return Report(source, f"beyond {max_magnitude:g} on the probe.", 0.0)
  std = float(jnp.std(values))
  if float(jnp.max(values)) == float(jnp.min(values)):
    return Report(source, "constant on the probe.", std)
  return Report(source, "", std)


def choose_program(
    programs: Sequence[Sequence[str]],
    obs: Float[Array, "*batch O"],
    act: Float[Array, "*batch A"],
    next_obs: Float[Array, "*batch O"] | None = None,
) -> tuple[str, ...]:
  """The usable factors of the program that has most of them; () if none.

  A program is one answer of a generator: the texts of its factors. Of equal
  ones the first is chosen.
  """
  usable = [
      tuple(
          r.source
          for r in verify_factors(program, obs, act, next_obs)
          if not r.problem
      )
      for program in programs
  ]
  return max(usable, key=len, default=())


def apply_factors(
    sources: Sequence[str],
    obs: Float[Array, "*batch O"],
    act: Float[Array, "*batch A"],
    next_obs: Float[Array, "*batch O"] | None = None,
) -> Float[Array, "*batch D"]:
  """Stacks factors along a new last axis; jittable with static `sources`.

  Raises:
    ValueError: if there is no factor, or one of them is none.
  """
  if not sources:
    raise ValueError("apply_factors: sources must not be empty.")
  made = [compile_factor(source)(obs, act, next_obs) for source in sources]
  return jnp.stack(made, axis=-1)
