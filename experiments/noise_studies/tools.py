"""A small translator of requests into tool calls: how finely to reward it."""

import functools
import itertools
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.noise_studies import answers, models, speller, tables
from experiments.studies import Study, mean_row
from rewardjax.data import curricula
from rewardjax.rewards.verifiers import tool_calls

LENGTH = 5  # tokens of a call: a tool, two parameters, two values
GRAINS = {"fine": "fine", "whole calls": "calls", "exact": "exact"}


class Tools(NamedTuple):
  """Tokens: the end, then tools, parameters, values; the same as words.

  A call is a tool and at most two parameters with a value each.
  """

  tools: int
  parameters: int
  values: int

  @property
  def words(self) -> int:
    """Where the tokens of requests begin."""
    return 1 + self.tools + self.parameters + self.values

  def rows(self, *, sets: bool) -> list[tuple[int, ...]]:
    """All calls without the end; each set of parameters once if `sets`."""
    first = 1 + self.tools
    names = range(first, first + self.parameters)
    values = range(first + self.parameters, self.words)
    pairs = list(itertools.product(names, values))
    many = itertools.product(pairs, repeat=2)
    two = [x for x in many if not sets or x[0][0] < x[1][0]]
    filled = [(), *((pair,) for pair in pairs), *two]
    return [
        (tool, *itertools.chain(*slots))
        for tool in range(1, first)
        for slots in filled
    ]

  def answer(self, row: tuple[int, ...]) -> tuple[int, ...]:
    """The tokens of a call: it ends early, or where there is no more room."""
    return row if len(row) == LENGTH else (*row, 0)

  def text(self, row: tuple[int, ...]) -> str:
    """The completion that a text verifier reads."""
    pairs = zip(row[1::2], row[2::2])
    # As text, since a policy may say one parameter twice.
    inner = ", ".join(f'"p{k}": "v{v}"' for k, v in pairs)
    name = json.dumps(f"tool{row[0]}")
    return _completion(f'{{"name": {name}, "parameters": {{{inner}}}}}')


def _completion(call: str) -> str:
  return f"<think>so</think>\n<tool_call>\n{call}\n</tool_call>"


def _judged(world, requests, grain):
  rows = world.rows(sets=False)
  texts = [*map(world.text, rows), _completion("no call")]
  return answers.judge(
      functools.partial(tool_calls.tool_calls, grain=grain),
      list(map(world.answer, rows)),
      [texts] * len(requests),
      list(map(world.text, requests)),
      vocab_size=world.words,
  )


def tool_rl(
    *, seed, num_seeds, tools, width, imitation, starts, judged_at, learning,
    window, level, fewer,
) -> Study:
  """GRPO after a little imitation, under three grains of one reward."""
  world = Tools(**tools)
  requests = world.rows(sets=True)
  asked = models.pack(
      [[world.words + x for x in row] for row in requests], LENGTH, left=True
  )
  wanted = models.pack([world.answer(row) for row in requests], LENGTH)
  judged = {name: _judged(world, requests, g) for name, g in GRAINS.items()}
  shape = dict(prompt=LENGTH, length=LENGTH, vocab=2 * world.words, width=width)
  even = jnp.full(len(requests), 1 / len(requests))

  def draw(key):
    rows = curricula.draw_sources(key, even, learning["batch_size"])
    return asked.rows(rows), wanted.rows(rows)

  def run(key, arm):
    judged, imitated = arm
    init_key, start_key, key = jax.random.split(key, 3)
    params = speller.init(init_key, **shape)
    kept = models.imitate(start_key, speller.logits, params, draw, **imitation)
    # The same imitation for all, left earlier or later.
    params = jax.tree.map(lambda x: x[imitated - 1], kept)

    return answers.learn(
        key, params, judged, asked, lambda step: even,
        lambda params, right: jnp.mean(right), **learning,
    )

  arms = {
      f"{name}, {after} imitated": (x, jnp.array(after))
      for after in starts
      for name, x in judged.items()
  }
  found = tables.stacked(run, arms, seed=seed, num_seeds=num_seeds)
  lines = {name: tables.trailing(x, window) for name, x in found.items()}
  steps = {name: tables.first_above(x, level) for name, x in lines.items()}
  rows = [mean_row(n, f"steps to {level:g} exact", x) for n, x in steps.items()]
  rows += [mean_row(n, "exact at the start", x[:, 0]) for n, x in lines.items()]
  rows += tables.last_rows(lines, "exact at the end")
  taken = lambda name: np.mean(steps[f"{name}, {judged_at} imitated"])
  share = taken("fine") / taken("exact")
  return Study(
      "ToolRL: graded rewards against whole calls",
      f"The fine reward reaches {level:g} exact matches in fewer steps than "
      f"the exact one, by a share of {fewer:g}, after {judged_at} imitated "
      "batches",
      bool(share <= 1 - fewer),
      rows,
      {
          f"exact_{after}": tables.curves(
              {n: lines[f"{n}, {after} imitated"] for n in GRAINS},
              "exact match",
          )
          for after in starts
      },
      f"Exact matches are those of the samples, means over {window} steps; a "
      "run that never gets there counts with all its steps. Means over seeds "
      "with 95 % Student-t intervals.",
  )
