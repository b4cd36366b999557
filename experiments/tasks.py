"""Problems for `experiments.rlvr`: from rows of text to batches of tokens."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections as mlc
import numpy as np
from jaxtyping import Bool, Int

from experiments import choices, task_rows, worlds
from rewardjax.data import loader, pretrained_tokenizer, strata, tokenizers
from rewardjax.models import pretrained

TOKENIZERS = {
    "char": lambda model: tokenizers.CharTokenizer("0123456789+-*/=()."),
    "byte": lambda model: tokenizers.ByteTokenizer(),
    "pretrained": lambda model: pretrained_tokenizer.load_tokenizer(
        pretrained.find(model)
    ),
}


class Problems(NamedTuple):
  """Prompts with their answers, as tokens, and the kind of each.

  In a world an answer is a demonstration: `answer_mask` is True on its
  actions, `answer_real` on observations as well; `start` is where it starts.
  """

  prompts: Int[Any, "*batch B P"]
  prompt_mask: Bool[Any, "*batch B P"]
  answers: Int[Any, "*batch B L"]
  answer_mask: Bool[Any, "*batch B L"]
  kinds: Int[Any, "*batch B"]
  answer_real: Bool[Any, "*batch B L"] | None = None
  start: Int[Any, "*batch B S"] | None = None


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
  # The column that a warm-up imitates, and what stands before an answer.
  shown: str = "answer"
  answer_mark: str = ""
  reword: Callable[[str], str] | None = None
  world: worlds.Spoken | None = None  # of tasks of several turns

  def encode(self, rows: Sequence[dict], column: str = "answer") -> Problems:
    """Rows as NumPy arrays `[N, ...]`; `column` gives the answers."""
    columns = loader.collate(rows)
    prompts = self.tokenizer.encode_prompts(
        list(map(self.ask, columns["prompt"])),
        self.prompt_length,
        **self.reading,
    )
    kinds = np.asarray(columns.get("kind", np.zeros(len(rows))), np.int32)
    if self.world is not None:
      tokens, own, real = self.world.encode(columns["episode"])
      return Problems(*prompts, tokens, own, kinds, real, columns["start"])
    answers = self.tokenizer.encode_answers(
        columns[column], self.answer_length
    )
    return Problems(*prompts, *answers, kinds)

  def wordings(self, row: dict) -> list[dict]:
    """The row, and its twin in other words where the task has them."""
    if self.reword is None:
      return [row]
    prompt = loader.collate([row])["prompt"][0]
    return [{**row, "prompt": x} for x in (prompt, self.reword(prompt))]

  def answer_in(self, said: str) -> str:
    """What follows the last mark; without a mark nothing does."""
    if not self.answer_mark:
      return said
    return said.rpartition(self.answer_mark)[2] * (self.answer_mark in said)

  def check_rows(self, source: str) -> None:
    """Raises ValueError, naming `source` and the row, unless all rows fit."""
    for split in ("train", "held_out"):
      rows = getattr(self, split)
      for i in range(len(rows)):
        try:
          for row in self.wordings(rows[i]):
            self._check_row(loader.collate([row]))
        except ValueError as error:
          raise ValueError(f"{source}, row {i} of {split}: {error}") from error

  def _check_row(self, row: dict[str, list[str]]) -> None:
    asked, answer = self.ask(row["prompt"][0]), row[self.shown][0]
    prompt = len(self.tokenizer.encode(asked, **self.reading))
    # The stop token is one more; an episode stops by itself.
    stop = 1 if self.world is None else 0
    lengths = prompt, len(self.tokenizer.encode(answer)) + stop
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
      self,
      *,
      seed: int,
      num_seeds: int,
      batch_size: int,
      by_kind: bool = False,
      column: str = "answer",
  ) -> loader.Loader | strata.StratifiedLoader:
    """Endless shuffled problems, `[S, B, ...]` a step: other ones per seed.

    Each of several processes gets its own block of the B problems. Where there
    are two wordings, 2i and 2i + 1 are those of one problem. `by_kind` gives
    `[S, B * K, ...]`: for each of the B a candidate of every kind.
    """
    per_seed = batch_size * (len(self.kinds) if by_kind else 1)
    local = per_seed // jax.process_count()
    mine = slice(jax.process_index() * local, (jax.process_index() + 1) * local)

    def collate(rows):
      split = lambda x: x.reshape(num_seeds, per_seed, *x.shape[1:])[:, mine]
      rows = [twin for row in rows for twin in self.wordings(row)]
      return jax.tree.map(split, self.encode(rows, column))

    copies = 1 if self.reword is None else 2
    options = dict(
        batch_size=num_seeds * batch_size // copies,
        seed=seed,
        collate_fn=collate,
    )
    if not by_kind:
      return loader.Loader(self.train, **options)
    rows = range(len(self.train))
    kinds = [int(self.train[i].get("kind", 0)) for i in rows]
    return strata.StratifiedLoader(
        self.train, kinds, num_kinds=len(self.kinds), **options
    )


def chat_text(tokenizer, prompt: str, *, system: str, suffix: str) -> str:
  """A problem as a chat model wants to be asked; encode with special=True."""
  messages = [{"role": "system", "content": system}] if system else []
  messages.append({"role": "user", "content": prompt + suffix})
  return tokenizer.chat(messages)


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
  make = choices.choose("task.name", task_rows.TASKS, options.name)
  rows, tokenizer = make(options, data_dir), make_tokenizer(config)
  ask, reading = lambda text: text, {}
  if options.chat:
    asked = dict(system=options.system, suffix=options.suffix)
    ask = lambda text: chat_text(tokenizer, text, **asked)
    reading = dict(special=True)
  task = Task(
      *rows[:3],
      tokenizer,
      options.prompt_length,
      options.answer_length,
      ask,
      reading,
      rows.shown,
      options.answer_mark,
      task_rows.rewording(options),
      worlds.make(config, tokenizer),
  )
  task.check_rows(options.path or options.name)
  return task
