"""Bad rows and dying workers in the main job."""

import json

import numpy as np
import pytest

from experiments import rlvr, task_rows, tasks
from rewardjax.data import pretrained_tokenizer
from tests.experiments.rlvr_runs import pretrained_config, small_config

# They share what is dear to make.
pytestmark = pytest.mark.xdist_group("faults")

FRAGILE = "tests.experiments.judges:fragile"


def write_rows(folder, *, columns=None, **last):
  """Ten sums in a file; the third one is changed."""
  rows = [
      dict(prompt=f"{i}+1=", answer=str(i + 1), **columns or {})
      for i in range(10)
  ]
  rows[2] |= last
  path = folder / "sums.jsonl"
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return dict(
      name="jsonl", path=str(path), kinds=("all",), num_held_out=3
  )


@pytest.mark.parametrize(
    "row, message",
    [
        (
            dict(prompt="1+1+1+1+1="),
            r"row 2 of train: 10 tokens do not fit into "
            r"config\.task\.prompt_length = 6: '1\+1\+1\+1\+1='",
        ),
        (
            dict(answer="12345"),
            r"row 2 of train: 6 tokens do not fit into "
            r"config\.task\.answer_length = 4: '12345'",
        ),
        (dict(answer="one"), r"row 2 of train: .*'eno' of 'one' is not in"),
    ],
    ids=["prompt", "answer", "letters"],
)
def test_a_row_that_does_not_fit_is_named_before_training(
    tmp_path, data_dir, row, message
):
  one = dict(false_positive=(0.1,), false_negative=(0.1,))
  config = small_config(arms=dict(arm=dict()), noise=one)
  config.task.update(write_rows(tmp_path, **row))
  with pytest.raises(ValueError, match=message) as error:
    rlvr.run(config, tmp_path / "run", data_dir=data_dir, progress=False)
  assert "sums.jsonl" in str(error.value) and "\n" not in str(error.value)
  assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    "kinds, kind, message",
    [
        (
            ("add", "other"),
            0,
            r"config\.task\.kinds: none of the 3 held-out rows of .*\.jsonl "
            r"is of kind \['other'\]; .* such as \('all',\)",
        ),
        (
            ("all",),
            1,
            r"column 'kind' must be in 0 \.\. 0 .*, got \[0, 1\]",
        ),
    ],
)
def test_kinds_without_rows_and_rows_without_kinds_are_named(
    tmp_path, data_dir, kinds, kind, message
):
  """The accuracy of a kind that nobody is asked about would be shown as 0."""
  config = small_config(arms=dict(arm=dict()))
  rows = write_rows(tmp_path, columns=dict(kind=0), kind=kind)
  config.task.update(rows | dict(kinds=kinds))
  with pytest.raises(ValueError, match=message):
    task_rows.jsonl(config.task, data_dir)


def test_a_prompt_beyond_the_context_of_a_model_is_named(
    tmp_path, data_dir, checkpoint
):
  config = pretrained_config(checkpoint, noise=dict(name="none"))
  config.task.update(write_rows(tmp_path, prompt="12" * 20))
  config.task.prompt_length = 64
  config.task.answer_length = 16
  message = "row 2 of train: .* do not fit into the model's context of 64"
  with pytest.raises(ValueError, match=message):
    tasks.make_task(config, data_dir)


def test_an_id_beyond_the_vocabulary_is_named(
    tmp_path, data_dir, checkpoint, monkeypatch
):
  """A tokenizer with more tokens than the model's table has rows."""
  monkeypatch.setattr(
      pretrained_tokenizer.PretrainedTokenizer, "vocab_size", 32
  )
  config = pretrained_config(checkpoint)
  config.task.update(write_rows(tmp_path, prompt="A+1="), chat=False)
  config.task.suffix = ""
  message = "row 2 of train: token .*, 'A', is outside the model's vocab"
  with pytest.raises(ValueError, match=message):
    tasks.make_task(config, data_dir)


@pytest.fixture(scope="module")
def fragile(go):
  """A recipe with a second law on adapters, judged by workers that die."""
  options = dict(kl_coefficient=0.05, fraction=0.5, min_p=0.1)
  rows, _ = go(
      num_steps=1,
      updates_per_batch=2,
      arms=dict(arm=dict(recipe=dict(name="lp_reg", options=options))),
      regularizer=dict(kl_in_reward=0.0),
      verifier=dict(function=FRAGILE, chunk_size=4),
      evaluation=dict(num_samples=4, pass_at=(1, 4)),
  )
  return rows


def test_a_worker_killed_mid_batch_is_counted_and_the_run_goes_on(fragile):
  row = fragile[1]
  crashed, known = (
      np.asarray(row[f"arm/{name}"])
      for name in ("verifier/crashed", "reward_known")
  )
  assert 0 < np.mean(crashed) < 1
  # What died with a worker is unknown, not wrong.
  np.testing.assert_allclose(known, 1 - crashed, rtol=1e-6)
  assert np.all(np.isfinite(row["arm/loss"]))
  assert np.all(np.isfinite(row["arm/accuracy"]))


def test_a_recipe_with_a_second_law_trains_adapters(fragile):
  """Text verdicts, a KL to the pretrained model, pass@k from samples."""
  rows = fragile
  assert np.all(np.isfinite(rows[1]["arm/protected"]))
  assert np.all(np.asarray(rows[1]["arm/reference_kl"]) > 0)
  for row in rows:
    np.testing.assert_allclose(
        row["arm/pass_at_1"], row["arm/accuracy"], rtol=1e-6
    )
    assert np.all(np.subtract(row["arm/pass_at_4"], row["arm/accuracy"]) >= 0)
  assert json.dumps(rows)  # plain numbers
