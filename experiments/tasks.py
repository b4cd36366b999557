"""Problems for `experiments.rlvr`: made here, or read from a user's file."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import ml_collections as mlc
import numpy as np
from jaxtyping import Bool, Int

from experiments import choices
from rewardjax.data import expressions, loader, tokenizers

OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
TOKENIZERS = {
    "char": lambda: tokenizers.CharTokenizer("0123456789+-*/=()."),
    "byte": tokenizers.ByteTokenizer,
}


class Problems(NamedTuple):
  """Prompts with their answers, as tokens, and the kind of each."""

  prompts: Int[Any, "*batch B P"]
  prompt_mask: Bool[Any, "*batch B P"]
  answers: Int[Any, "*batch B L"]
  answer_mask: Bool[Any, "*batch B L"]
  kinds: Int[Any, "*batch B"]


class Task(NamedTuple):
  """Random-access rows of both splits, and how they become tokens."""

  train: Sequence[dict]
  held_out: Sequence[dict]
  kinds: tuple[str, ...]
  tokenizer: tokenizers.Tokenizer
  prompt_length: int
  answer_length: int

  def encode(self, rows: Sequence[dict]) -> Problems:
    """Rows as NumPy arrays `[N, ...]`."""
    columns = loader.collate(rows)
    prompts = self.tokenizer.encode_prompts(
        columns["prompt"], self.prompt_length
    )
    answers = self.tokenizer.encode_answers(
        columns["answer"], self.answer_length
    )
    kinds = np.asarray(columns.get("kind", np.zeros(len(rows))), np.int32)
    return Problems(*prompts, *answers, kinds)

  def batches(
      self, *, seed: int, num_seeds: int, batch_size: int
  ) -> loader.Loader:
    """Endless shuffled problems, `[S, B, ...]` a step: other ones per seed.

    Each of several processes gets its own block of the B problems.
    """
    local = batch_size // jax.process_count()
    mine = slice(jax.process_index() * local, (jax.process_index() + 1) * local)

    def collate(rows):
      split = lambda x: x.reshape(num_seeds, batch_size, *x.shape[1:])[:, mine]
      return Problems(*map(split, self.encode(rows)))

    rows = num_seeds * batch_size
    return loader.Loader(
        self.train, batch_size=rows, seed=seed, collate_fn=collate
    )


def arithmetic(options: mlc.ConfigDict, data_dir: str) -> Task:
  """Random calculations; the kind of a problem is its last operator."""
  from rewardjax.data.builders import preparation, random_calculation

  operators = tuple(
      choices.choose("task.kinds", OPERATORS, kind) for kind in options.kinds
  )
  calculation = expressions.RandomCalculation(
      seed=options.seed,
      n_ops=options.num_operations,
      operands=(0, options.max_operand),
      operators=operators,
      max_denominator=1,
      held_out=options.held_out_share,
  )
  builder = preparation.prepare(
      random_calculation.RandomCalculation,
      random_calculation.Config(
          calculation=calculation,
          num_train=options.num_train,
          num_test=options.num_held_out,
      ),
      data_dir,
  )
  return Task(
      builder.as_data_source(split="train"),
      builder.as_data_source(split="test"),
      tuple(options.kinds),
      choices.choose("task.tokenizer", TOKENIZERS, options.tokenizer)(),
      options.prompt_length,
      options.answer_length,
  )


def jsonl(options: mlc.ConfigDict, data_dir: str) -> Task:
  """A user's file; its last `num_held_out` rows are held out.

  An integer column `kind` in 0 .. K-1 selects one of `task.kinds`.
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
  kinds = {int(row.get("kind", 0)) for row in rows}
  if not kinds <= set(range(len(options.kinds))):
    raise ValueError(
        f"{options.path}: column 'kind' must be in 0 .. "
        f"{len(options.kinds) - 1} (config.task.kinds), got {sorted(kinds)}."
    )
  return Task(
      rows[:num_train],
      rows[num_train:] or rows,
      tuple(options.kinds),
      choices.choose("task.tokenizer", TOKENIZERS, options.tokenizer)(),
      options.prompt_length,
      options.answer_length,
  )


TASKS = {"arithmetic": arithmetic, "jsonl": jsonl}


def make_task(options: mlc.ConfigDict, data_dir: str) -> Task:
  """The task that `options.name` chooses; rows are prepared once on disk."""
  return choices.choose("task.name", TASKS, options.name)(options, data_dir)
