"""Verifiers of tool calls: graded by tool, parameter names and values.

A completion is `<think>..</think>`, then `<tool_call>..</tool_call>` with one
JSON object `{"name": .., "parameters": {..}}` a line, and/or
`<response>..</response>`. A reference has the same form.
"""

import collections
import functools
import json
import re
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from rewardjax.core import checks
from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import text

Grain = Literal["fine", "calls", "exact"]

_BLOCK = {
    tag: re.compile(rf"<{tag}>(.*?)</{tag}>", re.DOTALL)
    for tag in ("think", "tool_call", "response")
}


class Call(NamedTuple):
  """A tool's name and its parameters, JSON values by name."""

  name: str
  parameters: dict[str, Any]


class Scales(NamedTuple):
  """What a full format and fully right calls are worth, in reward units."""

  form: float
  calls: float


def multiset_jaccard(
    first: Iterable[Hashable], second: Iterable[Hashable]
) -> float:
  """sum_x min count / sum_x max count; 1 for two empty collections."""
  # As lists: a Counter of a dict would take its values for counts.
  a, b = collections.Counter(list(first)), collections.Counter(list(second))
  union = (a | b).total()
  return (a & b).total() / union if union else 1.0


def same_value(a: Any, b: Any) -> bool:
  """Equality of JSON values: 1 is 1.0, but neither is "1" nor true."""
  if isinstance(a, bool) or isinstance(b, bool):
    return a is b
  if isinstance(a, dict) and isinstance(b, dict):
    return a.keys() == b.keys() and all(same_value(a[k], b[k]) for k in a)
  if isinstance(a, list) and isinstance(b, list):
    return len(a) == len(b) and all(map(same_value, a, b))
  return a == b


def parse_calls(said: str) -> list[Call] | None:
  """The calls of the only `<tool_call>` block; None if it cannot be read.

  A text without a block has no calls, which is not None but [].
  """
  blocks = _BLOCK["tool_call"].findall(said)
  if not blocks and "<tool_call>" not in said and "</tool_call>" not in said:
    return []
  if len(blocks) != 1:
    return None
  try:
    rows = [json.loads(line) for line in blocks[0].splitlines() if line.strip()]
    calls = [Call(row["name"], row.get("parameters", {})) for row in rows]
  except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
    return None
  readable = all(
      isinstance(c.name, str) and isinstance(c.parameters, dict) for c in calls
  )
  return calls if readable else None


def _pair_score(expected: Call, called: Call, grain: Grain) -> float:
  if expected.name != called.name:
    return 0.0
  right, said = expected.parameters, called.parameters
  if grain == "calls":
    return float(same_value(right, said))
  equal = sum(k in said and same_value(v, said[k]) for k, v in right.items())
  return multiset_jaccard(right, said) + equal


def _best_assignment(scores: np.ndarray) -> float:
  """The largest sum that uses every row and every column at most once."""
  from scipy import optimize

  rows, columns = optimize.linear_sum_assignment(scores, maximize=True)
  return float(scores[rows, columns].sum())


def call_score(
    expected: Sequence[Call],
    called: Sequence[Call],
    *,
    low: float | int = -3.0,
    high: float | int = 3.0,
    grain: Grain = "fine",
) -> float:
  """From `low` (nothing right) to `high` (all right).

      S = Jaccard(names) + sum of matched calls of
            [Jaccard(parameter names) + number of equal values]
      score = low + (high - low) S / (1 + sum_expected (1 + parameters))

  Each call is matched once, to a call of the same tool, so that the sum is
  largest: the order of calls does not matter, and saying one twice only
  costs.

  Args:
    expected: at least one call.
    called: what the completion calls.
    low: of a completion without a right name.
    high: of exactly the expected calls.
    grain: "calls" counts a call only whole, "exact" all calls only whole.

  Returns:
    In reward units.

  Raises:
    ValueError: if `grain` is unknown, nothing is expected or low >= high.

  References:
    "ToolRL: Reward is All Tool Learning Needs", 2025. Differs from the
      released code: matching is optimal, not greedy in the order of calls.
  """
  checks.one_of("call_score", get_args(Grain), grain=grain)
  if not low < high:
    raise ValueError(f"call_score: low must be below high, got {low}, {high}.")
  checks.at_least("call_score", 1, number_of_expected_calls=len(expected))
  most = 1.0 + sum(
      1 + (0 if grain == "calls" else len(c.parameters)) for c in expected
  )
  names = multiset_jaccard((c.name for c in expected), (c.name for c in called))
  shape = (len(expected), len(called))
  table = np.array(
      [[_pair_score(e, c, grain) for c in called] for e in expected], float
  ).reshape(shape)
  share = (names + _best_assignment(table)) / most
  if grain == "exact":
    share = float(share >= 1 and len(expected) == len(called))
  return low + (high - low) * share


def format_score(said: str, *, calls: bool, response: bool) -> float:
  """1 for exactly the blocks asked for, in their order, else 0.

  Args:
    said: the completion.
    calls: whether a `<tool_call>` block is asked for, between line breaks.
    response: whether a `<response>` block is asked for.

  Returns:
    0 as well if a block comes twice or was not asked for.
  """
  parts = [r"<think>.*?</think>"]
  parts += [r"<tool_call>\n.*?\n</tool_call>"] * calls
  parts += [r"<response>.*?</response>"] * response
  if not re.fullmatch("\n".join(parts), said.strip(), re.DOTALL):
    return 0.0
  wanted = {"think": 1, "tool_call": int(calls), "response": int(response)}
  tags = {
      tag: (said.count(f"<{tag}>"), said.count(f"</{tag}>")) for tag in wanted
  }
  return float(all(tags[tag] == (n, n) for tag, n in wanted.items()))


def thinking_length_score(said: str, *, full: int = 512) -> float:
  """Words of the `<think>` block / `full`, at most 1; 0 without a block."""
  checks.at_least("thinking_length_score", 1, full=full)
  found = _BLOCK["think"].search(said)
  return min(len(found[1].split()) / full, 1.0) if found else 0.0


def gradual_scales(step: int, *, num_steps: int = 150) -> Scales:
  """Format from 2 to 1 and calls from 2 to 3, linearly over `num_steps`.

  Scales change between steps only: rewards of one group must be comparable.
  """
  checks.at_least("gradual_scales", 1, num_steps=num_steps)
  part = min(max(step / num_steps, 0.0), 1.0)
  return Scales(2.0 - part, 2.0 + part)


def two_stage_scales(step: int, *, switch: int = 30) -> Scales:
  """Calls are worth a third (1 instead of 3) before step `switch`."""
  return Scales(1.0, 1.0 if step < switch else 3.0)


def tool_calls(
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[str],
    *,
    scales: Scales = Scales(1.0, 3.0),  # noqa: B008
    grain: Grain = "fine",
) -> list[Verdict]:
  """Format in 0 .. scales.form plus calls in -scales.calls .. scales.calls.

  Where the reference calls no tool only the format counts. Calls that cannot
  be read, or none where some were expected, score lowest: the model can do
  something about them.

  Args:
    prompts: not read.
    completions: one per prompt.
    references: in the form of a completion.
    scales: of this training step, such as `gradual_scales(step)`.
    grain: see `call_score`.

  Returns:
    "Correct" with a full score. Crashed where a *reference* cannot be read.

  Raises:
    ValueError: if lengths differ or `grain` is unknown.
  """
  checks.one_of("tool_calls", get_args(Grain), grain=grain)
  text.check_lengths("tool_calls", prompts, completions, references)
  judge = functools.partial(_judge, scales=scales, grain=grain)
  return [judge(said, right) for said, right in zip(completions, references)]


def _judge(said, reference, *, scales, grain) -> Verdict:
  expected = parse_calls(reference)
  if expected is None:
    detail = f"reference {reference[:40]!r}: no readable calls"
    return Verdict(None, Status.CRASHED, detail)
  response = "<response>" in reference
  form = format_score(said, calls=bool(expected), response=response)
  total, most = form * scales.form, scales.form
  if expected:
    called = parse_calls(said)
    bounds = dict(low=-scales.calls, high=scales.calls)
    total += (
        call_score(expected, called, grain=grain, **bounds)
        if called
        else -scales.calls
    )
    most += scales.calls
  full = total >= most - 1e-9
  return Verdict(total, Status.CORRECT if full else Status.WRONG)
