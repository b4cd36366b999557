import functools
import json
import os
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("reasoning_gym")

from rewardjax.core import exact_json  # noqa: E402
from rewardjax.data.builders import preparation  # noqa: E402
from rewardjax.data.builders import reasoning_gym as builders  # noqa: E402
from rewardjax.rewards.verifiers import reasoning_gym as verifiers  # noqa: E402
from rewardjax.types import Status  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
DATASETS = (
    ("chain_sum", {"min_terms": 2, "max_terms": 2, "max_digits": 2}),
    ("gsm_symbolic", {}, 2.0),
    ("countdown", {"max_numbers": 4}),
)
SIZES = dict(num_train=40, num_test=12)


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
  config = builders.Config(datasets=DATASETS, **SIZES)
  directory = tmp_path_factory.mktemp("reasoning_gym")
  return preparation.prepare(builders.ReasoningGym, config, directory)


@pytest.fixture(scope="module")
def splits(builder):
  decode = lambda x: x.decode() if isinstance(x, bytes) else x
  read = lambda row: {key: decode(value) for key, value in row.items()}
  found = {}
  for split in ("train", "test"):
    source = builder.as_data_source(split=split)
    found[split] = [read(source[i]) for i in range(len(source))]
  return found


def test_rows_hold_the_entry_and_come_in_shares(splits):
  assert [len(splits[x]) for x in ("train", "test")] == [40, 12]
  for rows in splits.values():
    names = [row["source"] for row in rows]
    assert names == [DATASETS[row["kind"]][0] for row in rows]
    # Weights 1 : 2 : 1, in every prefix up to a row.
    for size in range(1, len(rows) + 1):
      count = [names[:size].count(name) for name, *_ in DATASETS]
      shares = (size / 4, size / 2, size / 4)
      assert all(abs(x - y) <= 1 for x, y in zip(count, shares))
  row = splits["train"][0]
  metadata = exact_json.loads(row["metadata"])
  assert metadata["entry"]["question"] == row["prompt"]
  assert metadata["source"] == row["source"] == "gsm_symbolic"
  assert metadata["entry"]["answer"] == row["answer"]


def test_no_question_is_in_both_splits_or_twice():
  """Their item i has the seed `seed + i`: neighbours share nearly all."""
  one = (("chain_sum", {"max_terms": 2, "max_digits": 1}, 1.0),)
  rows = builders.split_rows(one, 60, 20, seed=0)
  questions = [row["prompt"] for split in rows.values() for row in split]
  assert len(questions) == len(set(questions)) == 80
  # Not even the seeds are shared, so no filter decides what a test row is.
  more = builders.split_rows(one, 5, 20, seed=0)
  assert more["test"] == rows["test"]
  assert more["train"] == rows["train"][:5]
  # Twice the same data set gives other questions.
  twice = builders.split_rows(one * 2, 20, 20, seed=0)
  questions = [row["prompt"] for split in twice.values() for row in split]
  assert len(set(questions)) == 40


def test_the_scorer_takes_the_metadata_as_it_is(splits):
  rows = [row for rows in splits.values() for row in rows]
  said = [f"<answer>{row['answer']}</answer>" for row in rows]
  references = [row["metadata"] for row in rows]
  found = verifiers.score([""] * len(rows), said, references)
  assert {x.status for x in found} == {Status.CORRECT}
  found = verifiers.score([""] * len(rows), ["-98765"] * len(rows), references)
  assert {x.status for x in found} == {Status.WRONG}


def test_parameters_are_the_difficulty(splits):
  sums = [x for x in splits["train"] if x["source"] == "chain_sum"]
  terms = [json.loads(x["metadata"])["entry"]["metadata"] for x in sums]
  assert {x["num_terms"] for x in terms} == {2}


def test_the_same_config_gives_the_same_rows_in_every_process(splits):
  """Sets of strings have another order there."""
  program = (
      "import json\n"
      "from rewardjax.data.builders import reasoning_gym as m\n"
      "from tests.data import test_reasoning_gym as t\n"
      "config = m.Config(datasets=t.DATASETS, **t.SIZES)\n"
      "rows = m.split_rows(config.datasets, 40, 12, 0)\n"
      "print(json.dumps([config.name, rows]))\n"
  )
  done = subprocess.run(
      [sys.executable, "-c", program],
      check=True,
      capture_output=True,
      text=True,
      cwd=ROOT,
      env=os.environ | {"PYTHONHASHSEED": "7"},
  )
  name, rows = json.loads(done.stdout)
  assert name == builders.Config(datasets=DATASETS, **SIZES).name
  assert rows == splits


def test_names_tell_contents_apart():
  make = functools.partial(builders.Config, datasets=DATASETS, **SIZES)
  # A config library makes lists of tuples.
  lists = [list(x) for x in DATASETS]
  same = [make(), make(), make(datasets=lists)]
  other = [make(seed=1), make(num_train=41), make(num_test=13)]
  other += [make(datasets=DATASETS[:2])]
  assert len({x.name for x in same}) == 1
  assert len({x.name for x in same + other}) == 1 + len(other)


def test_other_seeds_give_other_rows():
  one = (("chain_sum", {}, 1.0),)
  first, second = (builders.split_rows(one, 20, 20, seed=x) for x in (0, 1))
  prompts = lambda rows: {x["prompt"] for y in rows.values() for x in y}
  assert not prompts(first) & prompts(second)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (("chain_sums", {}), "unknown name 'chain_sums'; did you mean chain_s"),
        (("???", {}), r"unknown name '\?\?\?'; see its gallery"),
        (("composite", {}), "unknown name 'composite'"),
        (("chain_sum", {"terms": 2}), "'chain_sum' has no parameter 'terms'; "
         "it has allow_negation, max_digits"),
        (("chain_sum", {"seed": 2}), "has no parameter 'seed'"),
        (("chain_sum", {"min_terms": 9, "max_terms": 2}),
         "'chain_sum' refuses .* max_terms must be"),
        (("chain_sum", {}, 0.0), "weight must be in"),
    ],
)  # fmt: skip
def test_mistakes_are_named_before_anything_is_made(dataset, message):
  with pytest.raises(ValueError, match=message):
    builders.Config(datasets=(dataset,))


def test_what_cannot_be_reproduced_is_refused(monkeypatch):
  """Pain 36 (verl #1683): the same config must give the same rows."""
  monkeypatch.delenv("PYTHONHASHSEED", raising=False)
  with pytest.raises(ValueError, match="start Python with PYTHONHASHSEED=0"):
    builders.Config(datasets=(("word_ladder", {}),))
  monkeypatch.setenv("PYTHONHASHSEED", "0")
  builders.Config(datasets=(("isomorphic_strings", {}),))
  from reasoning_gym.arithmetic import chain_sum

  items = iter(range(99))

  def random_item(self, index):
    return {"question": str(next(items)), "answer": "", "metadata": {}}

  monkeypatch.setattr(chain_sum.ChainSumDataset, "__getitem__", random_item)
  with pytest.raises(ValueError, match="gives another item each time"):
    builders.split_rows((("chain_sum", {}, 1.0),), 3, 0, seed=0)


def test_too_few_questions_say_how_many_there_are():
  coins = (("coin_flip", {"min_trials": 3, "max_trials": 4}, 1.0),)
  with pytest.raises(ValueError, match="gave only .* 900 are wanted"):
    builders.split_rows(coins, 900, 1, seed=0)


def test_sizes_are_checked():
  with pytest.raises(ValueError, match="datasets must not be empty"):
    builders.Config(datasets=())
  with pytest.raises(ValueError, match="num_train must be in"):
    builders.Config(num_train=-1)
