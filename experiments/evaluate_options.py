"""The flags of `experiments.evaluate_rewards`, and the benchmarks there are."""

import dataclasses
import functools
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from absl import flags

from experiments import evaluate_chains
from rewardjax.core import checks
from rewardjax.data.benchmarks import (
    answers,
    chains,
    judging,
    lists,
    pairs,
    reading,
)
from rewardjax.diagnostics.benchmarks import chains as chain_tables
from rewardjax.diagnostics.benchmarks import lists as list_tables
from rewardjax.diagnostics.benchmarks import pairs as pair_tables
from rewardjax.rewards.steps import Aggregation


class Benchmark(NamedTuple):
  """How a benchmark's rows are read, and what its tables are."""

  read: Callable[..., Any]  # (path, columns=...) -> rows
  tables: Callable[..., Any]  # scored rows -> tables
  fields: str  # of its rows, for people


BENCHMARKS = {
    "rewardbench": Benchmark(
        pairs.rewardbench,
        pair_tables.rewardbench,
        "id, prompt, chosen, rejected, subset",
    ),
    "rewardbench2": Benchmark(
        lists.rewardbench2,
        list_tables.rewardbench2,
        "id, prompt, chosen and rejected (lists), subset",
    ),
    "m_rewardbench": Benchmark(
        pairs.m_rewardbench,
        pair_tables.m_rewardbench,
        "id, prompt, chosen, rejected, language, source",
    ),
    "vl_rewardbench": Benchmark(
        pairs.vl_rewardbench,
        pair_tables.vl_rewardbench,
        "id, query, response (two), human_ranking",
    ),
    "mm_rlhf": Benchmark(
        pairs.mm_rlhf,
        pair_tables.mm_rlhf,
        "id, image or video, prompt, chosen, rejected",
    ),
    "rewardmath": Benchmark(
        lists.rewardmath,
        list_tables.rewardmath,
        "problem_id, problem, eval_solution, solution_type, "
        "solution_reference",
    ),
    "rewardmath_pairs": Benchmark(
        lists.rewardmath_pairs,
        list_tables.rewardmath_pairs,
        "problem_id, problem, eval_solution_A, eval_solution_B, "
        "chosen_position, solution_reference",
    ),
    "process_bench": Benchmark(
        chains.process_bench,
        chain_tables.process_bench,
        "id, problem, steps, label",
    ),
    "multi_rm": Benchmark(
        answers.multi_rm,
        evaluate_chains.multi_rm,
        "q_id, question, answer, cot_ids, cots, parsed_answers",
    ),
}


_AGGREGATIONS = typing.get_args(Aggregation)
_BY_STEP = ("rewardmath", "multi_rm")
_UNREAD = typing.get_args(judging.Unread)
# One row holds all the answers that a judge has to choose from.
JUDGED = (
    "rewardbench", "rewardbench2", "m_rewardbench", "vl_rewardbench",
    "mm_rlhf", "rewardmath_pairs",
)  # fmt: skip


def _option(default, text: str):
  return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class Options:
  """What to evaluate, on what; each field is a flag."""

  benchmark: str = _option(
      "",
      "One of these, with the fields of its rows: "
      + "; ".join(f"{name} ({x.fields})" for name, x in BENCHMARKS.items()),
  )
  data: tuple[str, ...] = _option(
      (),
      "Files of rows, .jsonl or .parquet, with commas between; none: a few "
      "rows of our own, to try the command.",
  )
  scorer: str = _option(
      "",
      "package.module:function, called as function(prompts, completions, "
      "meta=...) and giving one number per completion, higher is better; or a "
      "run directory of experiments.reward_model.",
  )
  judge: str = _option(
      "",
      "Instead of --scorer: package.module:function, called as "
      "function(prompts, answers, meta=...) with a list of answers in random "
      "order for each prompt, and giving the place of the best one, or None "
      "where it cannot be read.",
  )
  scores: tuple[str, ...] = _option(
      (),
      "Instead of --scorer, for multi_rm: files of rewards, one for each of "
      "--data, with the fields q_id, cot_ids, rewards (a list for each chain, "
      "made one score by --by_step).",
  )
  votes: int = _option(1, "With --judge: how often each row is judged.")
  unread: str = _option(
      "wrong",
      "With --judge: what a judgement that cannot be read is, one of "
      f"{', '.join(_UNREAD)}.",
  )
  seed: int = _option(
      0,
      "Of the order in which a judge sees the answers, and of the draws of "
      "multi_rm, where 42 draws as its released code does.",
  )
  batch_size: int = _option(32, "Completions per call of the scorer.")
  columns: tuple[str, ...] = _option(
      (), "Other columns that the scorer finds in meta, such as image."
  )
  by_step: str = _option(
      "",
      "For rewardmath and multi_rm, with a scorer of steps (whose scores are "
      "probabilities) or --scores: how they make one score, one of "
      f" {', '.join(_AGGREGATIONS)}.",
  )
  threshold: float = _option(0.5, "For process_bench: lower means wrong.")
  reference: str = _option(
      "eng_Latn", "For m_rewardbench: the language that others are held to."
  )
  tolerance: float = _option(
      1e-3,
      "By how much the first completion's score may change if it is alone in "
      "its batch, as a share; negative: do not look.",
  )
  workdir: str = _option("", "For everything; default runs/<benchmark>.")

  def check(self) -> None:
    """Raises ValueError, naming the flag, unless every value makes sense."""
    where = "evaluate_rewards"
    checks.one_of(where, BENCHMARKS, benchmark=self.benchmark)
    checks.at_least(where, 1, batch_size=self.batch_size)
    if sum(map(bool, (self.scorer, self.judge, self.scores))) != 1:
      raise ValueError(
          "one of --scorer and --judge must be package.module:function, or "
          "--scores the files of rewards of multi_rm."
      )
    if self.judge:
      checks.one_of(where, JUDGED, benchmark=self.benchmark)
      checks.one_of(where, _UNREAD, unread=self.unread)
      checks.at_least(where, 1, votes=self.votes)
    if self.scores:
      self._check_scores()
    if self.by_step:
      if self.benchmark not in _BY_STEP:
        raise ValueError(
            f"--by_step is for --benchmark={' and '.join(_BY_STEP)} only."
        )
      checks.one_of(where, _AGGREGATIONS, by_step=self.by_step)

  def _check_scores(self) -> None:
    if self.benchmark != "multi_rm":
      raise ValueError("--scores is for --benchmark=multi_rm only.")
    if not self.by_step:
      raise ValueError(
          "--scores needs --by_step, one of "
          f"{', '.join(_AGGREGATIONS)}: how rewards make one score."
      )
    if len(self.scores) != len(self.files):
      raise ValueError(
          "--scores must be one file for each of --data, got "
          f"{len(self.scores)} for {len(self.files)}."
      )

  @property
  def asked(self) -> str:
    """What makes the scores, in words."""
    if self.scores:
      return f"the rewards in {', '.join(self.scores)}"
    if not self.judge:
      return self.scorer
    return f"{self.judge} with {self.votes} votes, seed {self.seed}"

  @property
  def files(self) -> tuple[str, ...]:
    """The data, or the sample that stands for them."""
    return self.data or (str(reading.sample(self.benchmark)),)

  def reader(self) -> Callable[..., Any]:
    """path -> rows."""
    more = {"by_step": True} if self.by_step else {}
    read = BENCHMARKS[self.benchmark].read
    return functools.partial(read, columns=self.columns, **more)

  def tables(self) -> Callable[..., Any]:
    """Scored rows -> tables."""
    more = {
        "multi_rm": {"files": self.files, "seed": self.seed},
        "process_bench": {"threshold": self.threshold},
        "m_rewardbench": {"reference": self.reference},
    }.get(self.benchmark, {})
    return functools.partial(BENCHMARKS[self.benchmark].tables, **more)


_DEFINE = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    tuple[str, ...]: flags.DEFINE_list,
}


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """One flag per field, with its default and help."""
  for field in dataclasses.fields(Options):
    define, text = _DEFINE[field.type], field.metadata["help"]
    default = field.default
    default = list(default) if isinstance(default, tuple) else default
    define(field.name, default, text, flag_values=values)


def from_flags(values: flags.FlagValues = flags.FLAGS) -> Options:
  """What the command line said."""
  found = {f.name: values[f.name].value for f in dataclasses.fields(Options)}
  return Options(**{
      name: tuple(x) if isinstance(x, list) else x for name, x in found.items()
  })
