"""Rows of text become batches of tokens: pairs, kinds, working and answer."""

import ml_collections as mlc
import numpy as np
import pytest

from configs.rlvr import base
from experiments import rlvr, rlvr_report, task_rows, tasks, verifying
from tests.experiments.rlvr_runs import rows_of, small_config


def task_of(data_dir, **changes):
  config = base.get_config("tiny")
  config.task.update(changes)
  return tasks.make_task(config, data_dir)


def texts(task, tokens, mask):
  return task.tokenizer.decode_batch(tokens, mask)


def test_second_wordings_stand_below_the_first(data_dir):
  task = task_of(data_dir, rewording="swapped", max_operand=9)
  problems = next(task.batches(seed=0, num_seeds=2, batch_size=6))
  assert problems.kinds.shape == (2, 6)
  said = np.reshape(texts(task, problems.prompts, problems.prompt_mask), (2, 6))
  answers = texts(task, problems.answers, problems.answer_mask)
  answers = np.reshape(answers, (2, 6))
  for i in range(0, 6, 2):
    for first, second in said[:, i : i + 2]:
      assert second == task_rows.expressions.swap_operands(first)
  np.testing.assert_array_equal(answers[:, ::2], answers[:, 1::2])
  assert np.any(said[:, ::2] != said[:, 1::2])


def test_every_place_of_a_batch_has_all_kinds(data_dir):
  task = task_of(data_dir)
  problems = next(
      task.batches(seed=0, num_seeds=2, batch_size=4, by_kind=True)
  )
  np.testing.assert_array_equal(problems.kinds, [[0, 1, 2] * 4] * 2)
  said = texts(task, problems.prompts, problems.prompt_mask)
  operators = [next(c for c in text if c in "+-*") for text in said]
  assert operators == ["+", "-", "*"] * 8


def test_calculations_of_several_operations_and_wrong_references(data_dir):
  longer = dict(max_operations=3, prompt_length=24, answer_length=8)
  task = task_of(data_dir, **longer, answer_noise=0.5)
  rows = [task.train[i] for i in range(len(task.train))]
  assert {int(row["n_ops"]) for row in rows} == {1, 2, 3}
  assert 0.2 < np.mean([row["answer"] != row["truth"] for row in rows]) < 0.8
  tested = [task.held_out[i] for i in range(len(task.held_out))]
  assert all(row["answer"] == row["truth"] for row in tested)


def traced(data_dir, **changes):
  options = dict(
      name="traced_integers",
      kinds=("sum", "sort"),
      tokenizer="byte",
      answer_mark="=",
      prompt_length=16,
      answer_length=32,
  )
  return task_of(data_dir, **(options | changes))


def test_working_is_imitated_and_answers_are_judged(data_dir):
  noise = dict(noise="static", intensity=0.5)
  task, clean = traced(data_dir, traced=noise), traced(data_dir)
  kinds = [int(task.train[i]["kind"]) for i in range(8)]
  assert kinds == [0, 1] * 4
  for i in range(8):
    row, right = task.train[i], clean.train[i]
    # Only the working lies; what is asked and answered stays.
    assert row["prompt"] == right["prompt"]
    assert row["answer"] == right["answer"]
    assert task.answer_in(row["completion"]) == row["answer"]
    assert row["prompt"].startswith(("sum ", "sort ")[row["kind"]])
  differ = [
      task.train[i]["completion"] != clean.train[i]["completion"]
      for i in range(8)
  ]
  assert np.mean(differ) > 0.5
  batch = dict(seed=0, num_seeds=1, batch_size=4)
  shown = next(task.batches(**batch, column=task.shown))
  asked = next(task.batches(**batch))
  np.testing.assert_array_equal(shown.prompts, asked.prompts)
  said = texts(task, shown.answers, shown.answer_mask)
  answers = texts(task, asked.answers, asked.answer_mask)
  assert [task.answer_in(x) for x in said] == answers
  assert task.answer_in("1;2;") == ""


def test_numbers_are_equal_however_they_are_written(data_dir):
  task = task_of(data_dir, answer_mark="=")
  said = ["=12", "=12.0", "1=7", "12", "=", "=1=012"]
  tokens, mask = task.tokenizer.encode_answers(said, 8)
  rows = np.reshape(tokens, (1, 6, 8)), np.reshape(mask, (1, 6, 8))
  rollouts = mlc.ConfigDict(dict(tokens=rows[0], mask=rows[1]))
  ids = verifying.number_ids(task, rollouts)
  np.testing.assert_array_equal(ids, [[0, 0, 1, -1, -1, 0]])


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(answer_mark=""), r"config\.task\.answer_mark must be '=' for"),
        (dict(num_train=63), r"config\.task\.num_train must be a multiple of"),
        (
            dict(num_held_out=15),
            r"config\.task\.num_held_out must be a multiple of the 2 config",
        ),
    ],
)
def test_wrong_traces_name_their_field(data_dir, changes, message):
  with pytest.raises(ValueError, match=message):
    traced(data_dir, **changes)


@pytest.mark.slow
def test_twins_with_working_and_text_read_on_the_host(
    tmp_path, data_dir, monkeypatch
):
  """Working before answers, pairs, numbers as votes, a reward of the form."""
  monkeypatch.setattr(rlvr_report, "write", lambda *args, **options: None)
  config = small_config(
      num_steps=1,
      log_every=1,
      checkpoint_every=1,
      noise=dict(name="none"),
      reward=dict(name="twin", votes="numbers"),
      beside=dict(form=dict(weight=0.5, gate="reached")),
      arms=dict(arm=dict()),
  )
  config.warm_up.num_steps = 0
  config.task.update(
      dict(
          name="traced_integers",
          kinds=("sum", "sort"),
          tokenizer="byte",
          answer_mark="=",
          rewording="please {}",
          prompt_length=20,
          answer_length=24,
      )
  )
  rlvr.run(config, tmp_path, data_dir=data_dir, progress=False)
  row = rows_of(tmp_path)[-1]
  for name in ("loss", "reward", "beside/form", "accuracy", "accuracy/sort"):
    assert np.all(np.isfinite(row[f"arm/{name}"]))
