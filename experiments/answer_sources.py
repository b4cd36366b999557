"""Questions and the model that is asked, for `experiments.sample_answers`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import ml_collections as mlc

from experiments import tasks
from rewardjax.data import jsonl
from rewardjax.data.tokenizers import Tokenizer
from rewardjax.models import incremental


class Question(NamedTuple):
  """A problem, and the data set that it is from."""

  prompt: str
  reference: str
  group: str
  metadata: str = ""  # what else a verifier may need to know, in JSON


class Source(NamedTuple):
  """Whom to ask."""

  decoder: Any
  params: Any
  tokenizer: Tokenizer
  encode: Callable[[str], list[int]]  # a prompt as the model wants it


def reasoning_gym(options: mlc.ConfigDict, data_dir: str) -> list[Question]:
  """`num_questions` of each data set, one data set after the other."""
  from rewardjax.data.builders import preparation
  from rewardjax.data.builders import reasoning_gym as builders

  builder = preparation.prepare(
      builders.ReasoningGym,
      builders.Config(
          datasets=tuple(
              (name, dict(parameters)) for name, parameters in options.datasets
          ),
          num_train=options.num_questions * len(options.datasets),
          num_test=0,
          seed=options.seed,
      ),
      data_dir,
  )
  rows = builder.as_data_source(split="train")
  text = lambda x: x.decode() if isinstance(x, bytes) else str(x)
  names = ("prompt", "answer", "source", "metadata")
  found = [Question(*(text(row[x]) for x in names)) for row in rows]
  order = [name for name, _ in options.datasets]
  return sorted(found, key=lambda x: order.index(x.group))


def from_file(options: mlc.ConfigDict, data_dir: str) -> list[Question]:
  """The prompts and answers of a user's file."""
  del data_dir
  rows, field = jsonl.read(options.path), options.group_field
  if field and field not in rows[0]:
    raise ValueError(
        f"config.task.group_field: {options.path} has no column {field!r}."
    )
  group = lambda row: str(row[field]) if field else "all"
  return [Question(row["prompt"], row["answer"], group(row)) for row in rows]


TASKS = {"reasoning_gym": reasoning_gym, "jsonl": from_file}


def load_source(config: mlc.ConfigDict) -> Source:
  """A pretrained model, asked by the chat template it was trained with."""
  from rewardjax.data import pretrained_tokenizer
  from rewardjax.models import pretrained

  path = pretrained.find(config.model.name)
  model, params = pretrained.load(path, dtype=jnp.dtype(config.model.dtype))
  tokenizer = pretrained_tokenizer.load_tokenizer(path)
  ask = dict(system=config.prompt.system, suffix=config.prompt.suffix)

  def encode(prompt: str) -> list[int]:
    text = tasks.chat_text(tokenizer, prompt, **ask)
    return tokenizer.encode(text, special=True)

  return Source(incremental.decoder(model), params, tokenizer, encode)
