"""Texts as steps: where they part, which tokens they hold, what is learned."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from rewardjax.core import checks

# A blank follows the stop, and the stop does not follow a single capital.
_SENTENCE = re.compile(
    r"(?<=[.!?…])(?<!\b[A-Z]\.)[\"')\]]*\s+|(?<=[。！？])|\n+"
)


def split_steps(text: str, *, separator: str = "\n\n") -> list[str]:
  """The steps of a text; joined they are the text again.

  Each step keeps the separator behind it, so that nothing that is scored
  differs in tokens from what was written. Separators with nothing but blanks
  before them belong to the step they follow.

  Raises:
    ValueError: if `separator` is empty.
  """
  if not separator:
    raise ValueError("split_steps: separator must not be empty.")
  found = re.finditer(re.escape(separator), text)
  return _parts(text, [m.end() for m in found])


def split_sentences(text: str) -> list[str]:
  """The sentences of a text, each with the blanks behind it.

  By their marks alone: an abbreviation in the middle of a sentence parts it,
  a decimal point or an initial does not.
  """
  return _parts(text, [m.end() for m in _SENTENCE.finditer(text)])


def _parts(text: str, ends: list[int]) -> list[str]:
  parts, start = [], 0
  for end in [*ends, len(text)]:
    part = text[start:end]
    start = end
    if part.strip() or not parts:
      parts.append(part)
    else:
      parts[-1] += part
  if len(parts) > 1 and not parts[0].strip():
    parts[:2] = [parts[0] + parts[1]]
  return [part for part in parts if part]


def step_ids(token_ends: Iterable, steps: Sequence[str]) -> np.ndarray:
  """The step of each token, as `advantages.placement` reads it.

  Args:
    token_ends: where in the text each token ends, in characters; a token
      that covers the end of a step belongs to the step its last character is
      in.
    steps: that make up the text.

  Returns:
    Int ids [T]; a token behind the text has the number of steps, which is no
    step.
  """
  ends = np.cumsum([len(step) for step in steps])
  return np.searchsorted(ends, list(token_ends), side="left")


def last_tokens(ids: Iterable, *, num_steps: int) -> np.ndarray:
  """The last token of each step [K]; -1 for a step without one."""
  checks.at_least("last_tokens", 1, num_steps=num_steps)
  ends = np.full(num_steps, -1)
  for place, step in enumerate(ids):
    if 0 <= step < num_steps:
      ends[step] = place
  return ends


class StepExample(NamedTuple):
  """A block to be judged: what came before it, it, whether it is right."""

  prefix: str
  block: str
  label: float


def hierarchical_examples(
    steps: Sequence[str],
    labels: Sequence[float | int],
    *,
    separator: str = "",
) -> list[StepExample]:
  """Every step by itself, then every step together with the one before it.

  A pair has the label of the later step: an error that is repaired at once
  counts as right. S steps give S and then S - 1 examples.

  Args:
    steps: in order.
    labels: of each, 0 or 1, or a score.
    separator: what stands between steps, if they do not end with it.

  Raises:
    ValueError: if the numbers of steps and labels differ.

  References:
    "Towards Hierarchical Multi-Step Reward Models" (HRM).
  """
  if len(steps) != len(labels):
    raise ValueError(
        f"hierarchical_examples: {len(steps)} steps and {len(labels)} labels."
    )
  examples = []
  for size in (1, 2):
    for end in range(size, len(steps) + 1):
      before = "".join(step + separator for step in steps[: end - size])
      block = separator.join(steps[end - size : end])
      examples.append(StepExample(before, block, float(labels[end - 1])))
  return examples
