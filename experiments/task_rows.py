"""Rows of the tasks of `experiments.rlvr`: made here, or read from a file."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import ml_collections as mlc

from experiments import choices, worlds
from rewardjax.data import expressions, traced_integers

OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}


class Rows(NamedTuple):
  """Random-access rows of both splits: prompt, answer, kind.

  shown: the column that a warm-up imitates, such as working and answer.
  """

  train: Sequence[dict]
  held_out: Sequence[dict]
  kinds: tuple[str, ...]
  shown: str = "answer"


class _Mapped(Sequence):
  """Rows of several sources of one length in turn, each changed on its way."""

  def __init__(self, sources: Sequence[Sequence[dict]], change: Callable):
    self._sources, self._change = sources, change

  def __len__(self) -> int:
    return len(self._sources) * len(self._sources[0])

  def __getitem__(self, i: int) -> dict:
    row, source = divmod(int(i), len(self._sources))
    return self._change(source, self._sources[source][row])


def _splits(builder) -> list[Sequence[dict]]:
  return [builder.as_data_source(split=x) for x in ("train", "test")]


def arithmetic(options: mlc.ConfigDict, data_dir: str) -> Rows:
  """Random calculations; the kind of a problem is its last operator."""
  from rewardjax.data.builders import preparation, random_calculation

  operators = tuple(
      choices.choose("task.kinds", OPERATORS, kind) for kind in options.kinds
  )
  fewest, most = options.num_operations, options.max_operations
  calculation = expressions.RandomCalculation(
      seed=options.seed,
      n_ops=(fewest, most) if most else fewest,
      operands=(0, options.max_operand),
      operators=operators,
      fractions=options.fractions,
      powers=tuple(options.powers),
      max_denominator=options.max_denominator or None,
      held_out=options.held_out_share,
  )
  builder = preparation.prepare(
      random_calculation.RandomCalculation,
      random_calculation.Config(
          calculation=calculation,
          num_train=options.num_train,
          num_test=options.num_held_out,
          answer_noise=options.answer_noise,
      ),
      data_dir,
  )
  return Rows(*_splits(builder), tuple(options.kinds))


def traced(options: mlc.ConfigDict, data_dir: str) -> Rows:
  """Working, "=" and an answer; each kind is a program. See `traced_integers`.

  Noise is in the working that a warm-up imitates, in training rows only. A
  prompt names its program where there are several.
  """
  from rewardjax.data.builders import preparation
  from rewardjax.data.builders import traced_integers as builders

  if options.answer_mark != "=":
    raise ValueError(
        "config.task.answer_mark must be '=' for config.task.name "
        f"'traced_integers', got {options.answer_mark!r}."
    )
  names = tuple(options.kinds)
  sizes = {"num_train": options.num_train, "num_test": options.num_held_out}
  for field, size in sizes.items():
    if size % len(names):
      raise ValueError(
          f"config.task.{field.replace('test', 'held_out')} must be a multiple "
          f"of the {len(names)} config.task.kinds, got {size}."
      )
  made = []
  for name in names:
    program = traced_integers.TracedIntegers(
        seed=options.seed, program=name, **options.traced
    )
    shares = {field: size // len(names) for field, size in sizes.items()}
    config = builders.Config(traced=program, **shares)
    found = preparation.prepare(builders.TracedIntegers, config, data_dir)
    made.append(_splits(found))

  def change(kind, row):
    text = {k: row[k].decode() for k in ("prompt", "completion", "answer")}
    text["completion"] = text["completion"].removesuffix(".")
    if len(names) > 1:
      text["prompt"] = f"{names[kind]} {text['prompt']}"
    return {**text, "kind": kind}

  splits = (_Mapped(sources, change) for sources in zip(*made))
  return Rows(*splits, names, shown="completion")


def reasoning_gym(options: mlc.ConfigDict, data_dir: str) -> Rows:
  """Problems of reasoning-gym; each kind is one of its data sets."""
  from rewardjax.data.builders import preparation
  from rewardjax.data.builders import reasoning_gym as builders

  names, parameters = tuple(options.kinds), options.datasets.to_dict()
  if set(names) != set(parameters):
    raise ValueError(
        "config.task.datasets must hold the parameters of each of "
        f"config.task.kinds {names}, got {sorted(parameters)}."
    )
  builder = preparation.prepare(
      builders.ReasoningGym,
      builders.Config(
          datasets=tuple((name, parameters[name]) for name in names),
          num_train=options.num_train,
          num_test=options.num_held_out,
          seed=options.seed,
      ),
      data_dir,
  )
  return Rows(*_splits(builder), names)


def jsonl(options: mlc.ConfigDict, data_dir: str) -> Rows:
  """A user's file; its last `num_held_out` rows are held out.

  An integer column `kind` in 0 .. K-1 selects one of `task.kinds`, each of
  which needs a held-out row.
  """
  from rewardjax.data.builders import preparation, prompts_jsonl

  builder = preparation.prepare(
      prompts_jsonl.PromptsJsonl,
      prompts_jsonl.Config(path=options.path),
      data_dir,
  )
  rows = builder.as_data_source(split="train")
  rows = [rows[i] for i in range(len(rows))]
  num_train = len(rows) - options.num_held_out
  if num_train < 1:
    raise ValueError(
        f"config.task.num_held_out = {options.num_held_out} leaves nothing to "
        f"train on: {options.path} has {len(rows)} rows."
    )
  train, held_out = rows[:num_train], rows[num_train:] or rows
  kinds_of = lambda rows: {int(row.get("kind", 0)) for row in rows}
  if not (kinds := kinds_of(rows)) <= set(range(len(options.kinds))):
    raise ValueError(
        f"{options.path}: column 'kind' must be in 0 .. "
        f"{len(options.kinds) - 1} (config.task.kinds), got {sorted(kinds)}."
    )
  present = kinds_of(held_out)
  absent = [x for i, x in enumerate(options.kinds) if i not in present]
  if absent:  # their accuracy would be shown as 0
    raise ValueError(
        f"config.task.kinds: none of the {len(held_out)} held-out rows of "
        f"{options.path} is of kind {absent}; rows without a column 'kind' "
        "are of the first one, such as ('all',)."
    )
  return Rows(train, held_out, tuple(options.kinds))


def quests(options: mlc.ConfigDict, data_dir: str) -> Rows:
  """Quests over several turns, and the way that an expert goes."""
  del data_dir  # made in a moment
  made = worlds.quest_rows(
      worlds.sizes_of(options),
      seed=options.seed,
      num_rows=options.num_train + options.num_held_out,
      num_turns=options.turns,
  )
  splits = made[: options.num_train], made[options.num_train :]
  return Rows(*splits, tuple(options.kinds))


TASKS = {
    "arithmetic": arithmetic,
    "jsonl": jsonl,
    "quests": quests,
    "reasoning_gym": reasoning_gym,
    "traced_integers": traced,
}


def rewording(options: mlc.ConfigDict) -> Callable[[str], str] | None:
  """From a prompt to its second wording; None if there is but one."""
  chosen = options.rewording
  if not chosen:
    return None
  if chosen == "swapped":
    return expressions.swap_operands
  if chosen.count("{}") != 1:
    raise ValueError(
        "config.task.rewording must be '', 'swapped' or a text with one {}; "
        f"got {chosen!r}."
    )
  return chosen.format
