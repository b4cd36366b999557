"""An endless set of requests that are answered by calling tools.

A prompt lists some tools, each with the JSON schema of its parameters, and
asks for one or two things. Row i depends on the fields and on i alone.
"""

import dataclasses
import json
from typing import Any, Literal, NamedTuple

import numpy as np

from rewardjax.core import checks

_SPLITS = ("train", "test")
_CITIES = ("Bern", "Cairo", "Hanoi", "Lagos", "Lima", "Oslo", "Quito", "Riga")
_NAMES = ("Ada", "Bo", "Cleo", "Dana", "Eli", "Finn", "Gus", "Hana")
_CODES = ("CHF", "EGP", "EUR", "JPY", "NOK", "PEN", "USD", "VND")
_HEAD = (
    "You may call these tools:\n{tools}\nThink between <think> and </think>, "
    "then write <tool_call>, a line of JSON for each call, and </tool_call>. "
    'A call is {{"name": .., "parameters": {{..}}}}.\n{asked}\n'
)

_whole = lambda low, high: {"type": "integer", "minimum": low, "maximum": high}
_text = {"type": "string"}
_choice = lambda values: {"type": "string", "enum": list(values)}


class _Tool(NamedTuple):
  """A tool: its sentence, with a field for each parameter."""

  name: str
  sentence: str
  parameters: dict[str, dict[str, Any]]


_TOOLS = (
    _Tool("get_weather", "Tell me the weather in {city} for {days} days in "
          "{unit}.", {
              "city": _text,
              "days": _whole(1, 14),
              "unit": _choice(("celsius", "fahrenheit")),
          }),
    _Tool("convert", "How much is {amount} {source} in {target}?", {
        "amount": _whole(1, 9999),
        "source": _choice(_CODES),
        "target": _choice(_CODES),
    }),
    _Tool("set_alarm", "Wake me at hour {hour} and minute {minute}.", {
        "hour": _whole(0, 23), "minute": _whole(0, 59),
    }),
    _Tool("find_flights", "Find flights from {origin} to {goal} for {people} "
          "people.", {
              "origin": _text, "goal": _text, "people": _whole(1, 9),
          }),
    _Tool("send_money", "Send {amount} {currency} to {person}.", {
        "amount": _whole(1, 9999), "currency": _choice(_CODES),
        "person": _text,
    }),
    _Tool("book_table", "Book a table for {people} in {city} at hour {hour}.",
          {"people": _whole(1, 20), "city": _text, "hour": _whole(11, 22)}),
    _Tool("roll_dice", "Roll {count} dice with {sides} sides.", {
        "count": _whole(1, 10), "sides": _whole(2, 100),
    }),
)
_WORDS = {"city": _CITIES, "origin": _CITIES, "goal": _CITIES, "person": _NAMES}


def schema(tool: _Tool) -> dict[str, Any]:
  """Name of a tool and the JSON schema of its parameters, all required."""
  return {
      "name": tool.name,
      "parameters": {
          "type": "object",
          "properties": tool.parameters,
          "required": list(tool.parameters),
          "additionalProperties": False,
      },
  }


def _value(rng, name: str, rule: dict[str, Any]) -> str | int:
  if rule["type"] == "integer":
    return int(rng.integers(rule["minimum"], rule["maximum"], endpoint=True))
  return str(rng.choice(rule.get("enum") or _WORDS[name]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolTasks:
  """An endless sequence of requests: `generator[i]` is a row.

  Attributes:
    seed: of the whole sequence, 0 or more.
    split: "train" or "test"; each has its own stream.
    num_tools: that a prompt lists, 1 .. 7.
    most_calls: that a request needs, at most `num_tools`.
  """

  seed: int = 0
  split: Literal["train", "test"] = "train"
  num_tools: int = 4
  most_calls: int = 2

  def __post_init__(self):
    where = "ToolTasks"
    checks.at_least(where, 0, seed=self.seed)
    checks.one_of(where, _SPLITS, split=self.split)
    checks.within(where, 1, len(_TOOLS), num_tools=self.num_tools)
    checks.within(where, 1, self.num_tools, most_calls=self.most_calls)

  def __getitem__(self, index: int) -> dict[str, str | int]:
    """Row `index`.

    "answer" is a completion with the right calls, the reference of
    `rewards.verifiers.tool_calls`; "tools" are the schemas as JSON, that of
    `rewards.verifiers.schemas`.
    """
    checks.at_least("ToolTasks", 0, index=index)
    rng = np.random.default_rng([self.seed, _SPLITS.index(self.split), index])
    listed = [_TOOLS[i] for i in rng.permutation(len(_TOOLS))[: self.num_tools]]
    count = int(rng.integers(1, self.most_calls, endpoint=True))
    asked, calls = [], []
    for i in rng.permutation(len(listed))[:count]:
      tool = listed[i]
      given = {k: _value(rng, k, rule) for k, rule in tool.parameters.items()}
      asked.append(tool.sentence.format(**given))
      calls.append(json.dumps({"name": tool.name, "parameters": given}))
    tools = [schema(tool) for tool in listed]
    lines = "\n".join(map(json.dumps, tools))
    said = "\n".join(calls)
    return {
        "prompt": _HEAD.format(tools=lines, asked=" ".join(asked)),
        "answer": f"<think></think>\n<tool_call>\n{said}\n</tool_call>",
        "tools": json.dumps(tools),
        "num_calls": count,
    }
