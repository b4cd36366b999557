"""Small edits of prompts: some must not change an answer, some must.

Twelve tasks on integer lists, their prompts edited three ways: words left out
and jargon put in (the task stays), and one quantifier turned round (the task
is another one). `diagnostics.sensitivity` scores what a solver makes of them.

References:
  "Small Edits, Big Consequences: Telling Good from Bad Robustness in Large
    Language Models".
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax.core import checks
from rewardjax.data import list_programs

NUM_LEVELS = 10
FLIPS = {
    "largest": "smallest",
    "first": "last",
    "ascending": "descending",
    "even": "odd",
    "positive": "negative",
    "maximum": "minimum",
}
JARGON = {
    "numbers": "scalars",
    "list": "sequence",
    "return": "yield",
    "sum": "total",
    "sort": "order",
    "twice": "doubled",
}


class Task(NamedTuple):
  """A prompt, its program, and the program of the flipped prompt."""

  name: str
  prompt: str
  program: str
  flipped: str | None


class Edit(NamedTuple):
  """An edited prompt; `level` is how much was left out, 0 .. 10."""

  kind: str  # "underspecify", "jargon" or "flip"
  level: int
  text: str


TASKS = (
    Task("max", "return the largest of the numbers in the list", "max", "min"),
    Task("min", "find and return the minimum of all the numbers given to you",
         "min", "max"),
    Task("first", "return the first element of the given list", "first",
         "last"),
    Task("rise", "sort the numbers of the list in ascending order and return "
         "the new list", "ascending", "descending"),
    Task("evens", "return the sum of all even numbers in the list",
         "keep even | sum", "keep odd | sum"),
    Task("gains", "return how many of the numbers in the list are positive",
         "keep positive | count", "keep negative | count"),
    Task("pair", "sort the list in descending order and return the two "
         "elements at its head", "descending | head 2", "ascending | head 2"),
    Task("odds", "keep only the odd numbers of the list and return each of "
         "them squared", "keep odd | square", "keep even | square"),
    Task("top", "square all numbers in the list and return the maximum of "
         "the squares", "square | max", "square | min"),
    Task("final", "remove the duplicates from the list and return the last "
         "number that is left", "unique | last", "unique | first"),
    Task("double", "return twice the smallest of all the numbers in the list",
         "double | min", "double | max"),
    Task("total", "return the sum of the numbers in the list", "sum", None),
)


def underspecify(text: str, *, level: int, seed: int = 0) -> str:
  """Leaves out level / 10 of the words (rounded down), the rest in order.

  The words of one level are among those of the next, by an order drawn from
  the seed and the text.

  Raises:
    ValueError: if `level` is not in 0 .. 10.
  """
  checks.within("underspecify", 0, NUM_LEVELS, level=level)
  words = text.split()
  rng = np.random.default_rng([seed, zlib.crc32(text.encode())])
  gone = set(rng.permutation(len(words))[: len(words) * level // NUM_LEVELS])
  return " ".join(w for i, w in enumerate(words) if i not in gone)


def lexical_flip(text: str, table: dict[str, str] | None = None) -> str | None:
  """Exchanges the first word of the table for its opposite; None if none.

  The table is read both ways, so a second flip restores the text.
  """
  table = FLIPS if table is None else table
  both = table | {right: left for left, right in table.items()}
  words = text.split(" ")
  for i, word in enumerate(words):
    if word in both:
      return " ".join([*words[:i], both[word], *words[i + 1 :]])
  return None


def jargon(text: str, table: dict[str, str] | None = None) -> str:
  """Replaces every word of the table by its technical synonym."""
  table = JARGON if table is None else table
  return " ".join(table.get(word, word) for word in text.split(" "))


def edits_of(task: Task, *, seed: int = 0) -> list[Edit]:
  """Ten levels of deletion, one of jargon and, if there is one, the flip."""
  made = [
      Edit("underspecify", k, underspecify(task.prompt, level=k, seed=seed))
      for k in range(1, NUM_LEVELS + 1)
  ]
  made.append(Edit("jargon", 0, jargon(task.prompt)))
  flipped = lexical_flip(task.prompt)
  if task.flipped is not None and flipped is not None:
    made.append(Edit("flip", 0, flipped))
  return made


def tests_of(program: str, *, seed: int = 0, count: int = 8) -> list:
  """Inputs and what the program makes of them; never an empty list."""
  rng = np.random.default_rng([seed, 7])
  # An even and an odd, a positive and a negative number in each.
  inputs = [
      [2, -3, *map(int, rng.integers(-9, 10, rng.integers(3, 7)))]
      for _ in range(count)
  ]
  inputs = [[x[i] for i in rng.permutation(len(x))] for x in inputs]
  return [(x, list_programs.run(program, x)) for x in inputs]


def row(task: Task, *, seed: int = 0) -> dict[str, Any]:
  """A task with its edits and both test sets, ready for JSON.

  Raises:
    ValueError: if the flip cannot be told by the tests: a solver that ignores
      it would pass as one that adapts.
  """
  original = tests_of(task.program, seed=seed)
  changed = None
  if task.flipped is not None:
    changed = tests_of(task.flipped, seed=seed)
    if changed == original:
      raise ValueError(f"row: the tests of {task.name!r} do not see its flip.")
  return {
      "id": task.name,
      "prompt": task.prompt,
      "tests_original": original,
      "tests_changed": changed,
      "edits": [edit._asdict() for edit in edits_of(task, seed=seed)],
  }


Solver = Callable[[str, str], str]  # (task name, prompt) -> program


def evaluate(
    solver: Solver, tasks: Sequence[Task] = TASKS, *, seed: int = 0
) -> dict[str, np.ndarray]:
  """Runs a solver on every edit: the fields of `sensitivity.Outcomes`.

  A program that does not run passes neither test set.
  """
  found = {name: [] for name in _FIELDS}
  for task in tasks:
    data = row(task, seed=seed)
    answers = [solver(task.name, e["text"]) for e in data["edits"]]
    passed = lambda tests, answers=answers: [
        tests is not None and list_programs.passes(x, tests) for x in answers
    ]
    found["passes_original"].append(passed(data["tests_original"]))
    found["passes_changed"].append(passed(data["tests_changed"]))
    found["is_flip"].append([e["kind"] == "flip" for e in data["edits"]])
    found["level"].append([e["level"] for e in data["edits"]])
    found["mask"].append([True] * len(answers))
  width = max(map(len, found["mask"]))
  pad = lambda x: x + [0 if isinstance(x[0], int) else False] * (width - len(x))
  return {
      name: np.array(list(map(pad, rows)), _FIELDS[name])
      for name, rows in found.items()
  }


_FIELDS = {
    "passes_original": bool,
    "passes_changed": bool,
    "is_flip": bool,
    "level": np.int32,
    "mask": bool,
}


def ignores_prompt(name: str, prompt: str) -> str:
  """A solver that remembers the task by its name."""
  del prompt
  return next(task.program for task in TASKS if task.name == name)


def exact(name: str, prompt: str) -> str:
  """A solver that knows every prompt and every flip, word by word."""
  task = next(task for task in TASKS if task.name == name)
  known = {task.prompt: task.program}
  if task.flipped is not None:
    known[lexical_flip(task.prompt)] = task.flipped
  return known.get(prompt, "")


_KEYWORDS = {
    "duplicates": "unique",
    "even": "keep even",
    "odd": "keep odd",
    "positive": "keep positive",
    "negative": "keep negative",
    "square": "square",
    "squared": "square",
    "twice": "double",
    "ascending": "ascending",
    "descending": "descending",
    "head": "head 2",
    "largest": "max",
    "maximum": "max",
    "smallest": "min",
    "minimum": "min",
    "first": "first",
    "last": "last",
    "sum": "sum",
    "many": "count",
}


def keyword(name: str, prompt: str) -> str:
  """A solver that reads the words it knows, filters before reductions."""
  del name
  words = set(prompt.split())
  steps = [step for word, step in _KEYWORDS.items() if word in words]
  return " | ".join(steps)
