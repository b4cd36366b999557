"""Benchmarks of pairs: a chosen and a rejected answer to each prompt."""

import os
from collections.abc import Iterable, Iterator

from rewardjax.data.benchmarks import reading
from rewardjax.data.benchmarks.reading import Record
from rewardjax.types import EvalRow

_SOURCES = {
    "RLAIF": "rlaif-v",
    "RLHF": "rlhf-v",
    "mathverse": "reasoning_tasks",
    "mmmu": "reasoning_tasks",
    "wildvision": "wildvision-battle",
    "hallucination": "povid",
}
_KINDS = ("mcq", "long", "short", "safety", "video")


def rewardbench(
    path: str | os.PathLike, *, columns: Iterable[str] = ()
) -> Iterator[EvalRow]:
  """RewardBench: id, prompt, chosen, rejected, subset.

  Args:
    path: JSON lines or Parquet.
    columns: others to hand to the scorer as `meta`.

  Yields:
    Rows whose id is "subset/id": the ids alone are not unique.

  Raises:
    ValueError: naming file, row and field.

  References:
    "RewardBench: Evaluating Reward Models for Language Modeling", 2024,
      arXiv:2403.13787.
  """

  def make(record: Record) -> EvalRow:
    subset = record.name("subset")
    answers = record.text("chosen"), record.text("rejected")
    name = f"{subset}/{record.name('id')}"
    return EvalRow(name, "", subset, record.text("prompt"), answers, 1)

  fields = ("id", "prompt", "chosen", "rejected", "subset")
  return reading.eval_rows(path, make, fields, columns)


def m_rewardbench(
    path: str | os.PathLike, *, columns: Iterable[str] = ()
) -> Iterator[EvalRow]:
  """M-RewardBench: RewardBench with `language`, its subset in `source`.

  Args: as `rewardbench`; one file per language, or all in one.

  Yields:
    Rows whose group is the language and whose id is "language/source/id".

  Raises:
    ValueError: naming file, row and field.

  References:
    "M-RewardBench: Evaluating Reward Models in Multilingual Settings".
  """

  def make(record: Record) -> EvalRow:
    language, subset = record.name("language"), record.name("source")
    answers = record.text("chosen"), record.text("rejected")
    name = f"{language}/{subset}/{record.name('id')}"
    return EvalRow(name, language, subset, record.text("prompt"), answers, 1)

  fields = ("id", "prompt", "chosen", "rejected", "language", "source")
  return reading.eval_rows(path, make, fields, columns)


def vl_rewardbench(
    path: str | os.PathLike, *, columns: Iterable[str] = ()
) -> Iterator[EvalRow]:
  """VL-RewardBench: id, query, response (two), human_ranking (0 is better).

  Args: as `rewardbench`; name "image" to hand images on.

  Yields:
    Rows whose subset is the source, read from how the id begins, as the
    released scoring code does; the better response comes first.

  Raises:
    ValueError: naming file, row and field.

  References:
    "VLRewardBench: A Challenging Benchmark for Vision-Language Generative
      Reward Models".
  """

  def make(record: Record) -> EvalRow:
    ranks = record.value("human_ranking", _ranking, "[0, 1] or [1, 0]")
    answers = record.value("response", _two, "a list of two strings")
    name = record.name("id")
    start = name.replace("_", "-").split("-")[0]
    return EvalRow(
        name,
        "",
        _SOURCES.get(start, "vlfeedback"),
        record.text("query"),
        answers if ranks == [0, 1] else answers[::-1],
        1,
    )

  fields = ("id", "query", "response", "human_ranking")
  return reading.eval_rows(path, make, fields, columns)


def _ranking(value):
  if list(value) not in ([0, 1], [1, 0]):
    raise ValueError
  return list(value)


def _two(value):
  first, second = value
  if not (isinstance(first, str) and isinstance(second, str)):
    raise TypeError
  return first, second


def mm_rlhf(
    path: str | os.PathLike, *, columns: Iterable[str] = ()
) -> Iterator[EvalRow]:
  """MM-RLHF-RewardBench: id, image or video, prompt, chosen, rejected.

  Args: as `rewardbench`. The prompt may be called "question".

  Yields:
    Rows whose group is the image or video; several may share one. The subset
    is the first of mcq, long, short, safety, video in its path, else "other".

  Raises:
    ValueError: naming file, row and field.

  References:
    "MM-RLHF: The Next Step Forward in Multimodal LLM Alignment".
  """

  def make(record: Record) -> EvalRow:
    known = record.some("image", "video", "question")
    seen = record.name("video" if "video" in known else "image")
    kinds = [kind for kind in _KINDS if kind in seen.lower()]
    answers = record.text("chosen"), record.text("rejected")
    prompt = record.text("question" if "question" in known else "prompt")
    subset = kinds[0] if kinds else "other"
    return EvalRow(record.name("id"), seen, subset, prompt, answers, 1)

  fields = ("id", "image", "video", "question", "prompt", "chosen", "rejected")
  return reading.eval_rows(path, make, fields, columns)
