"""Problems for `experiments.rlvr`: made here, or read from a user's file."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections as mlc
import numpy as np
from jaxtyping import Bool, Int

from experiments import choices
from rewardjax.data import (
    expressions,
    loader,
    pretrained_tokenizer,
    tokenizers,
)
from rewardjax.models import pretrained

OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
TOKENIZERS = {
    "char": lambda model: tokenizers.CharTokenizer("0123456789+-*/=()."),
    "byte": lambda model: tokenizers.ByteTokenizer(),
    "pretrained": lambda model: pretrained_tokenizer.load_tokenizer(
        pretrained.find(model)
    ),
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
  # From a problem to the text that the model reads, and what of it is no
  # plain text: arguments of the tokenizer.
  ask: Callable[[str], str]
  reading: dict[str, bool]

  def encode(self, rows: Sequence[dict]) -> Problems:
    """Rows as NumPy arrays `[N, ...]`."""
    columns = loader.collate(rows)
    prompts = self.tokenizer.encode_prompts(
        list(map(self.ask, columns["prompt"])),
        self.prompt_length,
        **self.reading,
    )
    answers = self.tokenizer.encode_answers(
        columns["answer"], self.answer_length
    )
    kinds = np.asarray(columns.get("kind", np.zeros(len(rows))), np.int32)
    return Problems(*prompts, *answers, kinds)

  def check_rows(self, source: str) -> None:
    """Raises ValueError, naming `source` and the row, unless all rows fit."""
    for split in ("train", "held_out"):
      rows = getattr(self, split)
      for i in range(len(rows)):
        try:
          self._check_row(loader.collate([rows[i]]))
        except ValueError as error:
          raise ValueError(f"{source}, row {i} of {split}: {error}") from error

  def _check_row(self, row: dict[str, list[str]]) -> None:
    asked, answer = self.ask(row["prompt"][0]), row["answer"][0]
    prompt = len(self.tokenizer.encode(asked, **self.reading))
    # The stop token is one more.
    lengths = prompt, len(self.tokenizer.encode(answer)) + 1
    for name, text, length in zip(
        ("prompt_length", "answer_length"), (asked, answer), lengths
    ):
      room = getattr(self, name)
      if length > room:
        raise ValueError(
            f"{length} tokens do not fit into config.task.{name} = {room}: "
            f"{text[:80]!r}."
        )
    context = getattr(self.tokenizer, "context_length", None)
    if context is not None and prompt + self.answer_length > context:
      raise ValueError(
          f"{prompt} tokens and config.task.answer_length = "
          f"{self.answer_length} do not fit into the model's context of "
          f"{context}: {asked[:80]!r}."
      )

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


def chat_text(tokenizer, prompt: str, *, system: str, suffix: str) -> str:
  """A problem as a chat model wants to be asked; encode with special=True."""
  messages = [{"role": "system", "content": system}] if system else []
  messages.append({"role": "user", "content": prompt + suffix})
  return tokenizer.chat(messages)


def _make_task(options, tokenizer, train, held_out, kinds) -> Task:
  ask, reading = lambda text: text, {}
  if options.chat:
    asked = dict(system=options.system, suffix=options.suffix)
    ask = lambda text: chat_text(tokenizer, text, **asked)
    reading = dict(special=True)
  lengths = options.prompt_length, options.answer_length
  return Task(train, held_out, kinds, tokenizer, *lengths, ask, reading)


def arithmetic(options: mlc.ConfigDict, tokenizer, data_dir: str) -> Task:
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
  splits = (builder.as_data_source(split=x) for x in ("train", "test"))
  return _make_task(options, tokenizer, *splits, tuple(options.kinds))


def reasoning_gym(options: mlc.ConfigDict, tokenizer, data_dir: str) -> Task:
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
  splits = (builder.as_data_source(split=x) for x in ("train", "test"))
  return _make_task(options, tokenizer, *splits, names)


def jsonl(options: mlc.ConfigDict, tokenizer, data_dir: str) -> Task:
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
  splits = rows[:num_train], rows[num_train:] or rows
  return _make_task(options, tokenizer, *splits, tuple(options.kinds))


TASKS = {
    "arithmetic": arithmetic,
    "jsonl": jsonl,
    "reasoning_gym": reasoning_gym,
}


def make_tokenizer(config: mlc.ConfigDict) -> tokenizers.Tokenizer:
  """The tokenizer that the config chooses."""
  make = choices.choose("task.tokenizer", TOKENIZERS, config.task.tokenizer)
  return make(config.model.pretrained)


def make_task(config: mlc.ConfigDict, data_dir: str | None) -> Task:
  """The task that the config chooses; rows are prepared once on disk.

  Raises:
    ValueError: naming the field, or the row that does not fit.
  """
  options = config.task
  make = choices.choose("task.name", TASKS, options.name)
  task = make(options, make_tokenizer(config), data_dir)
  task.check_rows(options.path or options.name)
  return task
