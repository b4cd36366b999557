r"""How good is a reward model? Scores the rows of a public benchmark.

    python -m experiments.evaluate_rewards --benchmark=rewardbench2 \
        --data=rewardbench2.parquet --scorer=my_package.model:score

Flow: rows (streamed) -> scores -> tables by the formulas of the benchmark.
The scorer is called as score(prompts, completions, meta=...) with lists of
equal length and gives one number per completion, higher is better. It is any
function: a model of yours, a verifier. --scorer=runs/reward_model, a run
directory of `experiments.reward_model`, is the model trained there. A judge
that names the best of several answers is given by --judge instead, and asked
--votes times; rewards of chains that are there already, by --scores.

Writes to the run directory scores.jsonl (one line per row, as it comes),
tables.json and report.html. A run that was killed goes on where it stopped;
started again with the same flags it only writes the tables anew. Without
--data it reads a few rows of our own in the schema of the benchmark;
--scorer=experiments.baseline_scorers:length tries it all out.
"""

import functools
import inspect
import pathlib
import sys

from absl import app, flags, logging

from experiments import (
    commands,
    evaluate_chains,
    evaluate_judges,
    evaluate_options,
    evaluate_report,
)
from experiments.evaluate_options import Options
from rewardjax.core import exact_json
from rewardjax.data.benchmarks import judging, reading, scores
from rewardjax.diagnostics.benchmarks import arrays
from rewardjax.training.logging import write_atomically
from rewardjax.types import ScoredRow


class ScorerError(RuntimeError):
  """The scorer raised: its own traceback is shown, whatever the error."""


def load_scorer(path: str):
  """The function at `package.module:function`, or the model in a directory.

  Raises:
    ValueError: if there is none, or it cannot be called as a scorer is.
  """
  if pathlib.Path(path).is_dir():
    from experiments import reward_model  # only where it is needed

    scorer = reward_model.load(path).score
  else:
    scorer = _function(path)

  @functools.wraps(scorer)
  def guarded(prompts, completions, *, meta):
    try:
      return scorer(prompts, completions, meta=meta)
    except Exception as error:
      raise ScorerError(f"{path} raised {type(error).__name__}.") from error

  return guarded


def _function(path: str):
  expected = (
      "a scorer must be package.module:function, called as "
      "function(prompts, completions, meta=...)"
  )
  scorer = commands.function_at(path, expected)
  try:
    inspect.signature(scorer).bind([], [], meta=[])
  except (ValueError, TypeError) as error:
    raise ValueError(f"{expected}, got {path!r}: {error}.") from error
  return scorer


def _rows(options: Options):
  read = options.reader()
  return reading.distinct_ids(
      row for path in options.files for row in read(path)
  )


def _asked(options: Options):
  """What the scorer is given: rows, or the votes on them."""
  rows = _rows(options)
  if options.judge:
    return judging.ballots(rows, num_votes=options.votes)
  return rows


def _tables(options: Options, rows) -> arrays.Tables:
  if options.judge:
    sizes = [len(row.texts) for row in _rows(options)]
    return evaluate_judges.tables(options, rows, sizes)
  if options.by_step and not options.scores:
    lengths = ([len(row.scores)] for row in rows)
    if options.benchmark == "multi_rm":
      found = evaluate_chains.questions(options.files)
      lengths = ([len(chain) for chain in x.chains] for x in found)
    rows = evaluate_chains.whole(rows, lengths, options.by_step)
  return options.tables()(rows)


def check_alone(options: Options, scorer) -> None:
  """Scores the first texts together and the first one alone.

  Padding, or the order in a batch, must not change a score: with a model
  where it does, every number of the tables depends on the batch size.

  Raises:
    ValueError: with both scores, if they differ by more than the tolerance.
  """
  pairs = []
  for row in _rows(options):
    pairs += [(row, text) for text in row.texts]
    if len(pairs) >= options.batch_size:
      break
  if not pairs:
    raise ValueError(f"{options.files[0]}: no row.")
  # The shortest: it has the most padding.
  pairs = sorted(pairs[: options.batch_size], key=lambda x: len(x[1]))
  together, *_ = scores.call(scorer, pairs)
  (alone,) = scores.call(scorer, pairs[:1])
  if abs(together - alone) > options.tolerance * max(1, abs(alone)):
    raise ValueError(
        f"row {pairs[0][0].id!r}: its score is {together:g} in a batch of "
        f"{len(pairs)} and {alone:g} alone: padding changes it. Repair the "
        "scorer, or set --batch_size=1 or --tolerance."
    )


def _resume(options: Options, workdir: pathlib.Path) -> None:
  """Raises ValueError if the directory has scores of another run."""
  path = workdir / "run.json"
  run = {
      "benchmark": options.benchmark,
      "data": [str(pathlib.Path(x).resolve()) for x in options.files],
      "sizes": [pathlib.Path(x).stat().st_size for x in options.files],
      "scorer": options.asked,
      "columns": list(options.columns),
      "by_step": bool(options.by_step),  # how, is decided by the tables
  }
  if path.exists():
    before = exact_json.loads(path.read_text())
    changed = [name for name in run if before.get(name) != run[name]]
    if changed:
      raise ValueError(
          f"{workdir} holds scores of another run, whose {changed[0]} is "
          f"{before.get(changed[0])!r}: give another --workdir."
      )
  write_atomically(path, exact_json.dumps(run) + "\n")


def _scored(
    options: Options, workdir: pathlib.Path, *, show: bool
) -> list[ScoredRow]:
  """Rows with their scores, of which some may be known already."""
  import tqdm

  scorer = load_scorer(options.scorer or options.judge)
  total = sum(reading.count(path) for path in options.files)
  _resume(options, workdir)
  done = workdir / "scores.jsonl"
  if options.judge:
    scorer = judging.as_scorer(scorer, seed=options.seed)
  elif options.tolerance >= 0 and not done.exists():
    check_alone(options, scorer)
  found = scores.score_rows(
      scorer, _asked(options), done, batch_size=options.batch_size
  )
  bar = dict(desc=options.benchmark, unit="row", total=total, disable=not show)
  return list(tqdm.tqdm(found, **bar))


def evaluate(
    options: Options, workdir: pathlib.Path, *, show: bool = True
) -> arrays.Tables:
  """Scores what has no score yet, and writes everything.

  Raises:
    ValueError: in one line, for a flag, a file, a row or a score that makes
      no sense.
    OSError: if there is no such file.
  """
  options.check()
  workdir = pathlib.Path(workdir)
  if options.scores:
    _resume(options, workdir)
    rows = evaluate_chains.given(
        options.files, options.scores, options.by_step
    )
  else:
    rows = _scored(options, workdir, show=show)
  if not rows:
    raise ValueError(f"{options.files[0]}: no row.")
  tables = _tables(options, rows)
  evaluate_report.publish(options, workdir, tables, len(rows), show=show)
  return tables


def main(argv):
  if len(argv) > 1:
    sys.exit(f"error: unexpected argument {argv[1]!r}; flags begin with --.")
  logging.set_verbosity(logging.ERROR)  # jax tells of backends it lacks
  options = evaluate_options.from_flags()
  workdir = pathlib.Path(options.workdir or f"runs/{options.benchmark}")
  try:
    evaluate(options, workdir)
  except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")


if __name__ == "__main__":
  evaluate_options.define_flags()
  flags.adopt_module_key_flags(evaluate_options)  # or --help hides them
  app.run(main)
