"""Finds the final answer in a text, and compares it character by character."""

import re
from collections.abc import Sequence
from typing import Literal

from rewardjax.core import checks
from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import parsing, text

Place = Literal["tag", "boxed", "marker", "last_line", "whole"]
_PLACES = ("tag", "boxed", "marker", "last_line", "whole")


def extract(
    said: str,
    *,
    places: Sequence[Place] = ("tag", "boxed", "marker", "last_line"),
    tag: str = "answer",
    marker: str = "####",
) -> str:
  r"""The final answer of a text, without blanks around it.

  The first of the places that the text has counts, and there the last
  occurrence:

  - "tag": between `<answer>` and `</answer>`;
  - "boxed": in `\boxed{...}`, whose braces may hold others;
  - "marker": after `####`, to the end of its line;
  - "last_line": the last line that is not blank;
  - "whole": the text.

  A place that is begun and not ended (a truncated text) counts as had: what
  stands before it is not read instead.

  Args:
    said: a completion.
    places: in order of precedence.
    tag: the name in "tag".
    marker: the mark in "marker".

  Raises:
    parsing.Unreadable: if no place has an answer, or an empty one.
    ValueError: if a place is not one of these.
  """
  readers = {
      "tag": lambda: _in_tag(said, tag),
      "boxed": lambda: _in_box(said),
      "marker": lambda: _after_marker(said, marker),
      "last_line": lambda: said.strip().rpartition("\n")[2],
      "whole": lambda: said,
  }
  for place in places:
    checks.one_of("extract", _PLACES, places=place)
  for place in places:
    found = readers[place]()
    if found is not None:
      if not found.strip():
        raise parsing.Unreadable(f"nothing in the {place}")
      return found.strip()
  raise parsing.Unreadable(f"no {' or '.join(places)}")


def _in_tag(said: str, tag: str) -> str | None:
  start = said.rfind(f"<{tag}>")
  if start < 0:
    return None
  found, end, _ = said[start + len(tag) + 2 :].partition(f"</{tag}>")
  if not end:
    raise parsing.Unreadable("a tag that is not closed")
  return found


def _in_box(said: str) -> str | None:
  start = said.rfind("\\boxed{")
  if start < 0:
    return None
  return parsing.inside(said[start + len("\\boxed") :])


def _after_marker(said: str, marker: str) -> str | None:
  _, mark, after = said.rpartition(marker)
  return after.lstrip(" \t").partition("\n")[0] if mark else None


def strict(
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[str],
    *,
    places: Sequence[Place] = ("tag", "boxed", "marker", "last_line"),
    tag: str = "answer",
    marker: str = "####",
    ends_with: bool = False,
) -> list[Verdict]:
  """1 where the final answer is the reference, character by character.

  It hardly ever accepts what is wrong, and rejects whatever is written in
  another way: `1/2` is not `0.5`, nor `12.` `12`.

  Args:
    prompts: not read.
    completions: read by `extract`.
    references: the right answers, nothing else.
    places: of `extract`.
    tag: of `extract`.
    marker: of `extract`.
    ends_with: words may stand before the answer: `The answer is 12`.

  Returns:
    Unparsable where `extract` finds nothing; crashed where a reference is
    blank. A run of blanks counts as one.

  Raises:
    ValueError: if lengths differ or a place is unknown.
  """
  text.check_lengths("strict", prompts, completions, references)
  for place in places:
    checks.one_of("strict", _PLACES, places=place)
  clean = lambda x: re.sub(r"\s+", " ", x).strip()
  results = []
  for said, right in zip(completions, references):
    right = clean(right)
    if not right:
      results.append(Verdict(None, Status.CRASHED, "a blank reference"))
      continue
    try:
      said = clean(extract(said, places=places, tag=tag, marker=marker))
    except parsing.Unreadable as error:
      results.append(Verdict(None, Status.UNPARSABLE, str(error)))
      continue
    equal = said == right or (ends_with and said.endswith(f" {right}"))
    results.append(text.binary(equal))
  return results
