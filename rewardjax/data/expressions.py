"""Random arithmetic with exact answers, an endless task that nobody has seen.

Item i depends on the generator's fields and on i alone: any order, shard or
restart gives the same items. Runs on the host, with exact fractions.

References:
  Wu et al., "Reasoning or Memorization? Unreliable Results of Reinforcement
    Learning Due to Data Contamination", 2025, arXiv:2507.10532
    (RandomCalculation).
"""

import dataclasses
import zlib
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from rewardjax.core import checks

KIND_NAMES = {
    "+": "addition",
    "-": "subtraction",
    "*": "multiplication",
    "/": "division",
}
_SPLITS = ("train", "test")
# A generator whose limits admit nothing must fail, not spin.
_MAX_ATTEMPTS = 10_000


class Problem(NamedTuple):
  """One problem; `kind` is the operator applied last, as its index."""

  prompt: str
  answer: str
  kind: int
  kind_name: str
  n_ops: int
  value: Fraction


class _Term(NamedTuple):
  text: str
  value: Fraction


def apply_operator(
    operator: str, left: Fraction, right: Fraction
) -> Fraction | None:
  """The exact result, or None for a division by zero."""
  if operator == "+":
    return left + right
  if operator == "-":
    return left - right
  if operator == "*":
    return left * right
  return left / right if right else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomCalculation:
  """An endless sequence of problems: `generator[i]` is a `Problem`.

  Operands are integers, or fractions of integers, raised to a power; binary
  operations join them in random nesting. The operator applied last, the
  problem's kind, is drawn first and then kept, so that kinds are equally
  frequent whatever the limits reject.

  Attributes:
    seed: of the whole sequence, 0 or more.
    n_ops: operations per problem, or an inclusive (low, high) range drawn
      uniformly; the difficulty.
    operands: inclusive range of the integers, 0 or more.
    operators: some of + - * /; the order defines the ids of the kinds.
    fractions: half of the operands are a fraction of two such integers.
    powers: an operand is raised to one of these, drawn uniformly.
    max_magnitude: no operand, intermediate value or answer exceeds it.
    max_denominator: likewise for denominators; 1 keeps every value an
      integer, None sets no limit.
    template: how the expression becomes a prompt.
    split: "train" or "test"; each has its own stream.
    held_out: share of all prompts, chosen by hash, that only "test" draws
      and "train" never; at 0 both draw from all.
  """

  seed: int = 0
  n_ops: int | tuple[int, int] = 1
  operands: tuple[int, int] = (0, 100)
  operators: tuple[str, ...] = ("+", "-", "*", "/")
  fractions: bool = False
  powers: tuple[int, ...] = (1,)
  max_magnitude: int = 10**6
  max_denominator: int | None = None
  template: str = "{}="
  split: str = "train"
  held_out: float | int = 0.0

  def __post_init__(self):
    where = "RandomCalculation"
    low, high = self.n_ops_range
    checks.at_least(where, 0, seed=self.seed, operands=self.operands[0])
    checks.at_least(where, 1, n_ops=low, powers=min(self.powers))
    checks.one_of(where, _SPLITS, split=self.split)
    checks.within(where, 0.0, 1.0, high_open=True, held_out=self.held_out)
    for operator in self.operators:
      checks.one_of(where, KIND_NAMES, operators=operator)
    if not self.operators or high < low or self.operands[1] < self.operands[0]:
      raise ValueError(
          f"{where}: operators, n_ops and operands must not be empty, got "
          f"{self.operators}, {self.n_ops}, {self.operands}."
      )
    if self.template.count("{}") != 1:
      raise ValueError(
          f"{where}: template must hold one {{}}, got {self.template!r}."
      )

  @property
  def n_ops_range(self) -> tuple[int, int]:
    """The inclusive range of the number of operations."""
    n_ops = self.n_ops
    return (n_ops, n_ops) if isinstance(n_ops, int) else tuple(n_ops)

  @property
  def kind_names(self) -> tuple[str, ...]:
    """Name of each kind id."""
    return tuple(KIND_NAMES[operator] for operator in self.operators)

  def __getitem__(self, index: int) -> Problem:
    checks.at_least("RandomCalculation", 0, index=index)
    stream = [self.seed, _SPLITS.index(self.split), index]
    rng = np.random.default_rng(stream)
    n_ops = int(rng.integers(*self.n_ops_range, endpoint=True))
    kind = int(rng.integers(len(self.operators)))
    for _ in range(_MAX_ATTEMPTS):
      term = self._combine(rng, self.operators[kind], n_ops)
      if term is None:
        continue
      prompt = self.template.format(term.text)
      if self.held_out and self._is_held_out(prompt) != (self.split == "test"):
        continue
      name = self.kind_names[kind]
      return Problem(prompt, str(term.value), kind, name, n_ops, term.value)
    raise ValueError(
        f"RandomCalculation: no problem of kind {self.kind_names[kind]!r} with "
        f"{n_ops} operations in {_MAX_ATTEMPTS} attempts; loosen operands, "
        "max_magnitude, max_denominator or held_out."
    )

  def _is_held_out(self, prompt: str) -> bool:
    return zlib.crc32(prompt.encode()) < self.held_out * 2**32

  def _allowed(self, value: Fraction) -> bool:
    limit = self.max_denominator
    small = limit is None or value.denominator <= limit
    return small and abs(value) <= self.max_magnitude

  def _operand(self, rng: np.random.Generator) -> _Term | None:
    draw = lambda: int(rng.integers(*self.operands, endpoint=True))
    value, text = Fraction(draw()), None
    if self.fractions and rng.integers(2):
      bottom = draw()
      if bottom == 0:
        return None
      # As drawn, not reduced: 2/4 is a harder problem than 1/2.
      text, value = f"({value}/{bottom})", value / bottom
    text = str(value) if text is None else text
    power = self.powers[int(rng.integers(len(self.powers)))]
    term = _Term(text if power == 1 else f"{text}^{power}", value**power)
    return term if self._allowed(term.value) else None

  def _combine(
      self, rng: np.random.Generator, operator: str, n_ops: int
  ) -> _Term | None:
    """An expression with `operator` at its root, or None if out of limits."""
    left_ops = int(rng.integers(n_ops))
    left = self._subtree(rng, left_ops)
    right = self._subtree(rng, n_ops - 1 - left_ops)
    value = apply_operator(operator, left.value, right.value)
    if value is None or not self._allowed(value):
      return None
    return _Term(f"{left.text}{operator}{right.text}", value)

  def _subtree(self, rng: np.random.Generator, n_ops: int) -> _Term:
    """An operand, or an expression in parentheses, within the limits.

    Redrawn here and not at the root: the chance that a whole tree is within
    the limits falls exponentially with its size.
    """
    for _ in range(_MAX_ATTEMPTS):
      if n_ops == 0:
        term = self._operand(rng)
      else:
        operator = self.operators[int(rng.integers(len(self.operators)))]
        term = self._combine(rng, operator, n_ops)
        term = term and _Term(f"({term.text})", term.value)
      if term is not None:
        return term
    raise ValueError(
        f"RandomCalculation: no part with {n_ops} operations within the limits "
        f"in {_MAX_ATTEMPTS} attempts; loosen operands, max_magnitude or "
        "max_denominator."
    )


def row(
    problem: Problem, written: str | None = None
) -> dict[str, str | int]:
  """A problem as a row of a data set: everything but the exact value.

  Args:
    problem: what the row is about.
    written: what stands in the column "answer", perhaps wrong; None is the
      truth, which "truth" always holds.
  """
  fields = problem._asdict()
  del fields["value"]
  fields["truth"] = problem.answer
  if written is not None:
    fields["answer"] = written
  return fields


def noisy_row(
    calculation: RandomCalculation, index: int, *, noise: float | int
) -> dict[str, str | int]:
  """Item `index` as a row whose answer is wrong with chance `noise`.

  A wrong answer is the right one of another problem of the same kind, so
  that nothing but the problem gives it away. Whether an item is hit does not
  depend on other items, and who is hit at one rate is hit at all higher ones.

  Raises:
    ValueError: if `noise` is no probability, or no other answer is found.
  """
  checks.probability("noisy_row", noise=noise)
  problem = calculation[index]
  # A fourth number: the problem itself was drawn from the stream of three.
  split = _SPLITS.index(calculation.split)
  rng = np.random.default_rng([calculation.seed, split, index, 1])
  if rng.random() >= noise:
    return row(problem)
  for _ in range(_MAX_ATTEMPTS):
    other = calculation[int(rng.integers(2**31))]
    if other.kind == problem.kind and other.value != problem.value:
      return row(problem, other.answer)
  raise ValueError(
      f"noisy_row: every problem of kind {problem.kind_name!r} has the answer "
      f"{problem.answer}; loosen operands or operators."
  )


def swap_operands(expression: str) -> str:
  """a + b as b + a, and a * b likewise; what follows them stays.

  Other expressions come back as they are: a - b has no such twin. Only the
  operator applied last is looked at, which stands outside all parentheses.
  """
  depth, text = 0, expression.rstrip("= ?")
  for i, char in enumerate(text):
    depth += (char == "(") - (char == ")")
    if not depth and char in "+-*/":
      swapped = f"{text[i + 1 :]}{char}{text[:i]}"
      rest = expression[len(text) :]
      return swapped + rest if char in "+*" else expression
  return expression


def collision_rate(prompts: Iterable[str]) -> float:
  """Share of prompts that repeat an earlier one."""
  prompts = list(prompts)
  return (len(prompts) - len(set(prompts))) / max(len(prompts), 1)
