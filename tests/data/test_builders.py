import json
import os
import pathlib
import subprocess
import sys

import pytest

from rewardjax.data import expressions
from rewardjax.data.builders import (
    preparation,
    prompts_jsonl,
    random_calculation,
)
from rewardjax.data.loader import Loader

ROOT = pathlib.Path(__file__).parents[2]
CALCULATION = expressions.RandomCalculation(operands=(0, 9), held_out=0.3)


def arithmetic(**changes):
  sizes = dict(num_train=30, num_test=5) | changes
  return random_calculation.Config(calculation=CALCULATION, **sizes)


def decoded(row):
  text = lambda x: x.decode() if isinstance(x, bytes) else x
  return {key: text(value) for key, value in row.items()}


@pytest.fixture(scope="module")
def arithmetic_dir(tmp_path_factory):
  return tmp_path_factory.mktemp("arithmetic")


def prepare_arithmetic(data_dir, **changes):
  return preparation.prepare(
      random_calculation.RandomCalculation, arithmetic(**changes), data_dir
  )


def test_rows_on_disk_are_the_items_in_order(arithmetic_dir):
  builder = prepare_arithmetic(arithmetic_dir)
  source = builder.as_data_source(split="train")
  assert len(source) == 30
  for i in (0, 7, 29):
    assert decoded(source[i]) == expressions.row(CALCULATION[i])
  test = builder.as_data_source(split="test")
  prompts = {decoded(test[i])["prompt"] for i in range(len(test))}
  assert len(test) == 5
  assert prompts.isdisjoint(source[i]["prompt"].decode() for i in range(30))


def test_training_answers_are_noised_and_test_answers_are_not(tmp_path):
  builder = prepare_arithmetic(tmp_path, answer_noise=0.5, num_test=30)
  train = builder.as_data_source(split="train")
  wrong = [train[i]["answer"] != train[i]["truth"] for i in range(30)]
  assert 4 < sum(wrong) < 26
  assert decoded(train[3]) == expressions.noisy_row(CALCULATION, 3, noise=0.5)
  test = builder.as_data_source(split="test")
  assert all(test[i]["answer"] == test[i]["truth"] for i in range(30))
  assert arithmetic(answer_noise=0.5).name != arithmetic().name
  with pytest.raises(ValueError, match="answer_noise must be in"):
    arithmetic(answer_noise=2.0)


def test_prepared_rows_are_reused_and_other_ones_are_not(arithmetic_dir):
  first = prepare_arithmetic(arithmetic_dir)
  stamp = os.stat(first.data_path).st_mtime_ns
  assert os.stat(prepare_arithmetic(arithmetic_dir).data_path).st_mtime_ns == (
      stamp
  )
  other = prepare_arithmetic(arithmetic_dir, num_train=31)
  assert other.data_path != first.data_path
  assert len(other.as_data_source(split="train")) == 31


def test_a_crash_leaves_nothing_that_looks_finished(tmp_path, monkeypatch):
  """Pain 35 (tunix d8959684): a half-written file is never read."""

  def fail(problem):
    raise RuntimeError("power cut")

  with monkeypatch.context() as patch:
    patch.setattr(expressions, "row", fail)
    with pytest.raises(RuntimeError, match="power cut"):
      prepare_arithmetic(tmp_path)
  assert len(prepare_arithmetic(tmp_path).as_data_source(split="train")) == 30


def test_a_race_is_won_by_either(tmp_path, monkeypatch):
  original = random_calculation.RandomCalculation.download_and_prepare

  def beaten(builder):
    original(builder)
    raise OSError("the directory is there already")

  monkeypatch.setattr(
      random_calculation.RandomCalculation, "download_and_prepare", beaten
  )
  assert prepare_arithmetic(tmp_path).is_prepared()

  def full(builder):
    raise OSError("no space left")

  monkeypatch.setattr(
      random_calculation.RandomCalculation, "download_and_prepare", full
  )
  with pytest.raises(OSError, match="no space"):
    prepare_arithmetic(tmp_path, num_train=3)


def test_default_directory_is_in_the_users_cache(monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  assert preparation.default_data_dir() == tmp_path / "rewardjax" / "data"
  monkeypatch.delenv("XDG_CACHE_HOME")
  monkeypatch.setenv("HOME", str(tmp_path))
  expected = tmp_path / ".cache" / "rewardjax" / "data"
  assert preparation.default_data_dir() == expected


def write_rows(path, count):
  rows = [
      {"question": f"½ of {i}?", "answer": i, "level": i % 2, "p": 0.5}
      for i in range(count)
  ]
  path.write_text("\n".join(map(json.dumps, rows)))
  return prompts_jsonl.Config(path=str(path), prompt_field="question")


def test_users_rows_keep_their_order_and_columns(tmp_path):
  path, data_dir = tmp_path / "rows.jsonl", tmp_path / "data"
  prepare = lambda config: preparation.prepare(
      prompts_jsonl.PromptsJsonl, config, data_dir
  )
  source = prepare(write_rows(path, 3)).as_data_source(split="train")
  expected = {"prompt": "½ of 2?", "answer": "2", "level": 0, "p": 0.5}
  assert decoded(source[2]) == expected
  # The file is known by its contents: an edit is seen.
  source = prepare(write_rows(path, 4)).as_data_source(split="train")
  assert len(source) == 4
  path.write_text('{"question": "?"}')
  with pytest.raises(ValueError, match="rows.jsonl:1: field 'answer'"):
    prepare(prompts_jsonl.Config(path=str(path), prompt_field="question"))


def test_loader_continues_over_a_data_source(arithmetic_dir):
  """Pain 34 (xtuner #1386): the data cursor is part of the state."""
  builder = prepare_arithmetic(arithmetic_dir)
  source = builder.as_data_source(split="train")
  make = lambda: Loader(source, batch_size=8, seed=0)
  whole = make()
  prompts = [next(whole)["prompt"] for _ in range(6)]
  before, after = make(), make()
  assert [next(before)["prompt"] for _ in range(3)] == prompts[:3]
  after.set_state(before.get_state())
  assert [next(after)["prompt"] for _ in range(3)] == prompts[3:]


def test_tensorflow_is_never_imported(tmp_path):
  """Pain 39 (reward-bench #225): few and light dependencies."""
  program = (
      "import sys\n"
      "from rewardjax.data import loader\n"
      "from rewardjax.data.builders import preparation, prompts_jsonl\n"
      "from rewardjax.data.builders import random_calculation as module\n"
      "builder = preparation.prepare(module.RandomCalculation,"
      " module.Config(num_train=4, num_test=0), sys.argv[1])\n"
      "source = builder.as_data_source(split='train')\n"
      "next(loader.Loader(source, batch_size=2, seed=0))\n"
      "assert 'tensorflow' not in sys.modules\n"
  )
  subprocess.run(
      [sys.executable, "-c", program, str(tmp_path)],
      check=True,
      capture_output=True,
      cwd=ROOT,
  )
