"""What a compiled program sends and holds: read from its HLO text.

    compiled = jax.jit(step).lower(*arguments).compile()
    for found in collectives(compiled.as_text()):
      print(found.kind, found.times, found.bytes)
"""

import math
import re
from typing import NamedTuple

import numpy as np

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)
_INSTRUCTION = re.compile(
    rf"= (\(.*?\)|\S+) ({'|'.join(KINDS)})(-start)?\("
)
_BUFFER = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\]")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.-]+) .*\{$")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|true_computation|false_computation)"
    r"=%?([\w.-]+)|(?:branch_computations|called_computations)=\{([^}]*)\}"
)
_TRIPS = re.compile(r'known_trip_count"?:\{"?n"?:"?(\d+)')
_CONDITION = re.compile(r"condition=%?([\w.-]+)")


class Collective(NamedTuple):
  """One instruction that sends between devices."""

  kind: str
  buffers: int  # that it carries
  bytes: int  # of its results on one device, each time
  times: int  # it runs in one call; a loop of unknown length counts once
  looped: bool  # inside a loop


def collectives(text: str) -> list[Collective]:
  """The collectives of an optimised HLO module."""
  bodies, entry = _computations(text)
  found = []

  def visit(name, times, looped):
    for line in bodies.get(name, ()):
      if match := _INSTRUCTION.search(line):
        found.append(_read(match, times, looped))
        continue
      is_loop = " while(" in line
      trips = _trips(line, bodies) if is_loop else 1
      for one, several in _CALLED.findall(line):
        for called in [one] if one else re.findall(r"[\w.-]+", several):
          visit(called, times * trips, looped or is_loop)

  visit(entry, 1, False)
  return found


def _trips(line: str, bodies: dict[str, list[str]]) -> int:
  """How often a loop runs: as the compiler says, or as its condition does."""
  if known := _TRIPS.search(line):
    return int(known[1])
  condition = "\n".join(bodies.get(_CONDITION.search(line)[1], ()))
  # Compiled scans count from 0 and stop at the one constant.
  limits = re.findall(r" s32\[\]\S* constant\((\d+)\)", condition)
  return int(limits[0]) if len(limits) == 1 else 1


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
  bodies, entry, lines = {}, "", None
  for line in text.splitlines():
    if line.startswith("}"):
      lines = None
    elif lines is not None:
      lines.append(line)
    elif head := _HEAD.match(line):
      lines = bodies.setdefault(head[2], [])
      entry = head[2] if head[1] else entry
  return bodies, entry


def _read(match: re.Match, times: int, looped: bool) -> Collective:
  result, kind, starts = match.groups()
  buffers = _BUFFER.findall(result)
  if starts and kind != "all-reduce":
    # (operands, results, ...): only the results arrive.
    buffers = [b for b in buffers if b[1]]
    buffers = buffers[len(buffers) // 2 :]
  return Collective(
      kind, len(buffers), sum(map(_bytes, buffers)), times, looped
  )


def _bytes(buffer: tuple[str, str]) -> int:
  name, shape = buffer
  bits = re.search(r"\d+", name)
  width = 8 if name == "pred" or not bits else int(bits[0])
  return math.prod(int(n) for n in shape.split(",") if n) * width // 8


class Traffic(NamedTuple):
  """All collectives of one kind, over one call of the program."""

  instructions: int
  calls: int
  bytes: int  # results on one device


def traffic(text: str) -> dict[str, Traffic]:
  """Counted collectives by kind, those that occur."""
  found = collectives(text)
  rows = {}
  for kind in KINDS:
    of_kind = [x for x in found if x.kind == kind]
    if of_kind:
      calls = np.array([x.times for x in of_kind])
      sizes = np.array([x.bytes for x in of_kind])
      rows[kind] = Traffic(
          len(of_kind), int(calls.sum()), int((calls * sizes).sum())
      )
  return rows
