"""Samples answers of a language model, as `experiments.audit_verifier` reads.

Writes answers.jsonl to the run directory: one row per sample, with prompt,
completion, reference, group, and the law that it was drawn from. Killed and
started again with the same flags, it goes on after the last batch that is
complete, and ends with the same bytes.
"""

import json
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import ml_collections as mlc
import numpy as np
from absl import app, flags, logging
from ml_collections import config_flags

from experiments import commands, rlvr_config
from experiments.answer_sources import TASKS, Question, Source, load_source
from experiments.choices import choose
from rewardjax.data import tokenizers
from rewardjax.policies import decoding
from rewardjax.policies.laws import SamplingLaw


def sample(
    source: Source,
    questions: Sequence[Question],
    config: mlc.ConfigDict,
    path: pathlib.Path,
    *,
    progress: bool = True,
) -> None:
  """Appends what is missing in the file, a batch of questions at a time.

  Args:
    source: whom to ask.
    questions: all of them, in the same order at every call.
    config: see `configs/audit/smollm2.py`.
    path: the file; its complete batches are kept, the rest is cut off.
    progress: whether to show a bar.
  """
  import tqdm

  o = config.sampling
  starts = range(0, len(questions), o.batch_size)
  sizes = [
      len(questions[start : start + o.batch_size]) * o.num_samples
      for start in starts
  ]
  done = _keep_complete(path, sizes)
  draw = _drawer(source, config)
  bar = tqdm.tqdm(
      total=sum(sizes),
      initial=sum(sizes[:done]),
      unit="answer",
      disable=not progress,
  )
  with bar, open(path, "ab") as file:
    for start, size in list(zip(starts, sizes))[done:]:
      batch = questions[start : start + o.batch_size]
      rows = _rows(source, batch, start, draw(batch, start), config)
      # One write: a batch is there or it is cut off at the next start.
      file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
      file.flush()
      os.fsync(file.fileno())
      bar.update(size)


def _keep_complete(path: pathlib.Path, sizes: Sequence[int]) -> int:
  """Cuts off what follows the last complete batch; returns their number."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.touch()
  lines = path.read_bytes().splitlines(keepends=True)
  if lines and not lines[-1].endswith(b"\n"):
    lines.pop()
  ends = np.cumsum([0, *sizes])
  done = int(np.searchsorted(ends, len(lines), side="right")) - 1
  os.truncate(path, sum(map(len, lines[: ends[done]])))
  return done


def _drawer(source: Source, config: mlc.ConfigDict) -> Callable:
  """From a batch of questions, and the number of its first, to rollouts."""
  o = config.sampling
  tokenizer, multiple = source.tokenizer, config.prompt.multiple
  key = jax.random.key(config.seed)

  @jax.jit
  def draw(params, prompts, mask, ids):
    return decoding.sample(
        key,
        source.decoder,
        params,
        prompts,
        mask,
        num_samples=o.num_samples,
        max_new_tokens=o.max_new_tokens,
        stop_tokens=tokenizer.stop_tokens,
        law=SamplingLaw(o.temperature, o.top_k, o.top_p),
        pad_token=tokenizer.pad,
        prompt_ids=ids,
    )

  def of_batch(batch, start):
    rows = [source.encode(question.prompt) for question in batch]
    width = -(-max(map(len, rows)) // multiple) * multiple
    prompts = tokenizers.pad_rows(rows, width, tokenizer.pad, left=True)
    ids = start + np.arange(len(rows))
    return jax.device_get(draw(source.params, *prompts, ids))

  return of_batch


def _rows(source, batch, start, rollouts, config) -> list[dict[str, Any]]:
  """One row per sample, in the order of questions and samples."""
  o = config.sampling
  texts = source.tokenizer.decode_batch(rollouts.tokens, rollouts.mask)
  lengths = rollouts.mask.sum(-1)
  rows = []
  for i, question in enumerate(batch):
    for g in range(o.num_samples):
      rows.append({
          "id": start + i,
          "sample": g,
          "group": question.group,
          "prompt": question.prompt,
          "completion": texts[i * o.num_samples + g],
          "reference": question.reference,
          "truncated": bool(rollouts.truncated[i, g]),
          "num_tokens": int(lengths[i, g]),
          "model": config.model.name,
          "temperature": o.temperature,
          "top_k": o.top_k,
          "top_p": o.top_p,
          "max_new_tokens": o.max_new_tokens,
          "seed": config.seed,
          "metadata": question.metadata,
      })
  return rows


def run(
    config: mlc.ConfigDict,
    workdir: pathlib.Path,
    *,
    data_dir: str | None = None,
    load: Callable[[mlc.ConfigDict], Source] = load_source,
    progress: bool = True,
) -> pathlib.Path:
  """Samples all answers; returns the file.

  Raises:
    ValueError: in one line, for a field that makes no sense, or a run
      directory that holds another run.
    OSError: if there is no such model or file.
  """
  make_questions = choose("task.name", TASKS, config.task.name)
  questions = make_questions(config.task, data_dir)
  workdir = pathlib.Path(workdir)
  rlvr_config.claim_workdir(config, workdir)
  path = workdir / "answers.jsonl"
  sample(load(config), questions, config, path, progress=progress)
  return path


def define_flags() -> None:
  """Only for the command: other commands define the same names."""
  config_flags.DEFINE_config_file(
      "config", "configs/audit/smollm2.py", lock_config=True
  )
  flags.DEFINE_string("workdir", None, "Run directory; default runs/<slug>.")
  flags.DEFINE_string(
      "data_dir", None, "Where data sets are kept; the user's cache if absent."
  )


def main(argv):
  del argv
  logging.set_verbosity(logging.ERROR)
  given = flags.FLAGS
  workdir = given.workdir or f"runs/{given.config.slug}"
  try:
    path = run(given.config, pathlib.Path(workdir), data_dir=given.data_dir)
  except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")
  print(f"Answers: {path}")


if __name__ == "__main__":
  commands.keep_freed_memory()
  define_flags()
  app.run(main, flags_parser=commands.parse_flags)
