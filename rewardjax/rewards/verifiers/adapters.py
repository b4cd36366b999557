"""Reward functions of TRL and Tunix as verifiers, unchanged, and back.

All results are `functools.partial`s of module-level functions: they pickle
whenever the function inside does, so that a pool can run them.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import scores

RewardFunction = Callable[..., Sequence[float | None]]
Verifier = Callable[..., list[Verdict]]


def from_trl(
    function: RewardFunction,
    *,
    reference_column: str = "answer",
    chat: bool = False,
    encode: Callable[[str], list[int]] | None = None,
    correct_above: float | int = 0.0,
    **constants: Any,
) -> Verifier:
  """A verifier from `f(prompts=, completions=, **columns)`.

  Args:
    function: returns a float or None ("does not apply") per completion.
    reference_column: the keyword under which references arrive. A reference
      that is a mapping, a row of the data set, arrives as its columns.
    chat: prompts and completions arrive as lists of messages,
      `[{"role": "assistant", "content": text}]`.
    encode: makes the `completion_ids` of functions that ask for them.
    correct_above: a higher score has the status "correct".
    **constants: passed on as they are, such as `trainer_state`.

  Returns:
    A verifier. None, NaN and lists of a wrong length become crashed
    verdicts, and what the function raises goes through; see `pool`.
  """
  return functools.partial(
      _call_trl,
      function,
      reference_column,
      chat,
      encode,
      correct_above,
      constants,
  )


def from_tunix(
    function: RewardFunction,
    *,
    reference_column: str = "answer",
    correct_above: float | int = 0.0,
    **constants: Any,
) -> Verifier:
  """A verifier from `f(prompts, completions, **columns) -> list[float]`.

  The arguments are those of `from_trl`.
  """
  return from_trl(
      function,
      reference_column=reference_column,
      correct_above=correct_above,
      **constants,
  )


def _call_trl(
    function: RewardFunction,
    reference_column: str,
    chat: bool,
    encode: Callable[[str], list[int]] | None,
    correct_above: float | int,
    constants: dict[str, Any],
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[Any],
) -> list[Verdict]:
  columns = _columns(references, reference_column)
  if encode is not None:
    columns["completion_ids"] = [encode(text) for text in completions]
  say = lambda role, text: [{"role": role, "content": text}]
  prompts, completions = list(prompts), list(completions)
  found = function(
      prompts=[say("user", x) for x in prompts] if chat else prompts,
      completions=(
          [say("assistant", x) for x in completions] if chat else completions
      ),
      **columns,
      **constants,
  )
  return scores.from_scores(
      found, count=len(completions), correct_above=correct_above
  )


def _columns(references: Sequence[Any], name: str) -> dict[str, list[Any]]:
  if references and isinstance(references[0], Mapping):
    return {key: [row[key] for row in references] for key in references[0]}
  return {name: list(references)}


def to_trl(
    verifier: Verifier, *, reference_column: str = "answer", name: str
) -> RewardFunction:
  """A function for TRL; what the verifier does not know becomes None.

  Args:
    verifier: any verifier.
    reference_column: the column that holds the references.
    name: under which TRL logs it.
  """
  function = functools.partial(_call_verifier, verifier, reference_column, None)
  function.__name__ = name
  return function


def to_tunix(
    verifier: Verifier,
    *,
    invalid: float | int,
    reference_column: str = "answer",
    name: str,
) -> RewardFunction:
  """A function for Tunix, which knows no unknown: `invalid` stands for it.

  Args:
    verifier: any verifier.
    invalid: the float for unparsable, timed-out and crashed completions.
    reference_column: the column that holds the references.
    name: under which Tunix logs it.
  """
  function = functools.partial(
      _call_verifier, verifier, reference_column, invalid
  )
  function.__name__ = name
  return function


def _call_verifier(
    verifier: Verifier,
    reference_column: str,
    invalid: float | int | None,
    prompts: Sequence[Any],
    completions: Sequence[Any],
    **columns: Any,
) -> list[float | None]:
  results = verifier(
      [_text(x) for x in prompts],
      [_text(x) for x in completions],
      list(columns[reference_column]),
  )
  known = (Status.CORRECT, Status.WRONG)
  return [x.score if x.status in known else invalid for x in results]


def _text(said: Any) -> str:
  """The text of a completion that may be a list of messages."""
  if isinstance(said, str):
    return said
  return "".join(message["content"] for message in said)
