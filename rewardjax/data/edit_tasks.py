"""An endless set of small edits: `data.edits` on tasks that are drawn.

A task is a pipeline on integer lists and its prompt in words. Each gives 13
rows: the prompt, ten levels of words left out, jargon, and the flip, which is
another task. Row i depends on the fields and on i alone.
"""

import dataclasses
import json
import zlib
from typing import Literal

import numpy as np

from rewardjax.core import checks
from rewardjax.data import edits, list_programs

ROWS_PER_TASK = edits.NUM_LEVELS + 3  # and the original, jargon and the flip

_SPLITS = ("train", "test")
_KINDS = ("even", "odd", "positive", "negative")
_ENDS = {"largest": "max", "smallest": "min", "first": "first", "last": "last"}
_ORDERS = ("ascending", "descending")
_CHANGES = {
    "": "",
    ", each of them squared": " | square",
    ", each of them doubled": " | double",
}
# A flip may not show on some lists, but hardly on all of eight.
_MAX_ATTEMPTS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class EditTasks:
  """An endless sequence of edited prompts: `generator[i]` is a row.

  Attributes:
    seed: of the whole sequence, 0 or more.
    split: "train" or "test". There are about four thousand tasks; one in five,
      chosen by hash together with its flip, is drawn by "test" only.
    num_tests: inputs that a program is run on.
  """

  seed: int = 0
  split: Literal["train", "test"] = "train"
  num_tests: int = 8

  def __post_init__(self):
    checks.at_least("EditTasks", 0, seed=self.seed)
    checks.at_least("EditTasks", 1, num_tests=self.num_tests)
    checks.one_of("EditTasks", _SPLITS, split=self.split)

  def _stream(self, index: int) -> list[int]:
    return [self.seed, _SPLITS.index(self.split), index]

  def task(self, index: int) -> edits.Task:
    """Task `index`; its tests tell it from its flip.

    Raises:
      ValueError: if no such task was found.
    """
    checks.at_least("EditTasks", 0, index=index)
    rng = np.random.default_rng(self._stream(index))
    for _ in range(_MAX_ATTEMPTS):
      prompt, program, flipped = draw(rng)
      if _is_held_out(prompt) != (self.split == "test"):
        continue
      task = edits.Task(f"task {index}", prompt, program, flipped)
      if self._tests(program, index) != self._tests(flipped, index):
        return task
    raise ValueError(
        f"EditTasks: no task in {_MAX_ATTEMPTS} attempts whose flip is seen "
        "by its tests; raise num_tests."
    )

  def _tests(self, program: str, index: int) -> list:
    seed = int(np.random.default_rng([*self._stream(index), 1]).integers(2**31))
    return edits.tests_of(program, seed=seed, count=self.num_tests)

  def __getitem__(self, index: int) -> dict[str, str | int | bool]:
    """Row `index`: prompt, answer and what is needed to score it.

    "answer" is a program for this prompt, "tests" its inputs and outputs as
    JSON; "tests_original" are those of the prompt before the edit. "level"
    is 0 but for words left out.
    """
    checks.at_least("EditTasks", 0, index=index)
    number, which = divmod(index, ROWS_PER_TASK)
    task = self.task(number)
    original = edits.Edit("original", 0, task.prompt)
    edit = [original, *edits.edits_of(task, seed=self.seed)][which]
    program = task.flipped if edit.kind == "flip" else task.program
    return {
        "prompt": edit.text,
        "answer": program,
        "kind": edit.kind,
        "level": edit.level,
        "task": number,
        "original": task.prompt,
        "tests": json.dumps(self._tests(program, number)),
        "tests_original": json.dumps(self._tests(task.program, number)),
    }


def _is_held_out(prompt: str) -> bool:
  # A task and its flip stand in the same split.
  pair = min(prompt, edits.lexical_flip(prompt))
  return zlib.crc32(pair.encode()) % 5 == 0


def draw(rng: np.random.Generator) -> tuple[str, str, str]:
  """A prompt, its program, and the program of the flipped prompt."""
  kind = str(rng.choice(_KINDS))
  added = int(rng.integers(-20, 21))
  said, change = list(_CHANGES.items())[rng.integers(len(_CHANGES))]
  # Words go in the order of steps: the first that can be flipped is `kind`,
  # unless the end of the list comes before it.
  steps = f"{change} | add {added}" if added else change
  plus = f" and with {added} added to each" if added else ""
  before = f"keep {kind}{steps}"
  turned = f"keep {edits.lexical_flip(kind)}{steps}"
  form = rng.integers(4)
  if form == 0:
    word = str(rng.choice(list(_ENDS)))
    opposite = _ENDS[edits.lexical_flip(word)]
    text = f"return the {word} of the {kind} numbers in the list{said}{plus}"
    return text, f"{before} | {_ENDS[word]}", f"{before} | {opposite}"
  if form == 1:
    text = f"return the sum of the {kind} numbers in the list{said}{plus}"
    return text, f"{before} | sum", f"{turned} | sum"
  if form == 2:
    text = f"take the {kind} numbers of the list{said}{plus}, and return them"
    return text, before, turned
  order = str(rng.choice(_ORDERS))
  text = (
      f"sort the {kind} numbers of the list{said}{plus}, in {order} order and "
      "return the new list"
  )
  return text, f"{before} | {order}", f"{turned} | {order}"


def score(said: str, row: dict[str, str | int | bool]) -> tuple[bool, bool]:
  """Whether a program passes the row's tests, and those of the original."""
  tests = lambda column: [tuple(pair) for pair in json.loads(row[column])]
  passed = lambda column: list_programs.passes(said, tests(column))
  return passed("tests"), passed("tests_original")
