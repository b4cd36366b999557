import copy
import importlib
import json

import jax
import jax.numpy as jnp
import pytest

from experiments import answer_sources, sample_answers
from rewardjax.data import tokenizers
from rewardjax.models import incremental, transformer

TOKENIZER = tokenizers.CharTokenizer("0123456789+= ")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
  """Eleven sums in a file, batches of four: the last one is short."""
  path = tmp_path_factory.mktemp("task") / "sums.jsonl"
  rows = [
      dict(prompt=f"{i}+{i}=", answer=str(2 * i), kind=i % 2)
      for i in range(11)
  ]
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  config = importlib.import_module("configs.audit.smollm2").get_config("tiny")
  config.task.update(name="jsonl", path=str(path), group_field="kind")
  config.sampling.update(batch_size=4, num_samples=3, max_new_tokens=5)
  config.prompt.multiple = 8
  return config


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
  """What a run that is never killed writes."""
  return sample(config, tmp_path_factory.mktemp("whole"))


def load(config):
  """A tiny random language model over digits."""
  del config
  model = transformer.Transformer(
      vocab_size=TOKENIZER.vocab_size,
      width=8,
      num_layers=1,
      num_heads=2,
      mlp_width=8,
  )
  tokens = jnp.zeros((1, 2), jnp.int32)
  params = model.init(jax.random.key(0), tokens, tokens == 0)["params"]
  return answer_sources.Source(
      incremental.decoder(model), params, TOKENIZER, TOKENIZER.encode
  )


def sample(config, workdir):
  path = sample_answers.run(config, workdir, load=load, progress=False)
  return path.read_bytes()


def test_rows_hold_what_an_audit_reads(whole):
  rows = [json.loads(line) for line in whole.splitlines()]
  assert len(rows) == 11 * 3
  assert [(row["id"], row["sample"]) for row in rows] == [
      (i, g) for i in range(11) for g in range(3)
  ]
  for row in rows:
    i = row["id"]
    assert (row["prompt"], row["reference"]) == (f"{i}+{i}=", str(2 * i))
    assert row["group"] == str(i % 2)
    assert len(row["completion"]) <= 5 and row["max_new_tokens"] == 5
  assert len({row["completion"] for row in rows}) > 5  # it draws


@pytest.mark.parametrize(
    "size, first", [(0.5, 4), (-1, 8), (1.0, 12)], ids=["half", "line", "none"]
)
def test_a_killed_run_ends_with_the_same_bytes(
    config, whole, tmp_path, monkeypatch, size, first
):
  """Cut within a batch or a line: only batches from there on are drawn."""
  cut = int(size * len(whole)) if size > 0 else size
  (tmp_path / "answers.jsonl").write_bytes(whole[:cut])
  starts, rows = [], sample_answers._rows

  def counted(source, batch, start, *rest):
    starts.append(start)
    return rows(source, batch, start, *rest)

  monkeypatch.setattr(sample_answers, "_rows", counted)
  assert sample(config, tmp_path) == whole
  assert starts == list(range(first, 11, 4))


def test_another_config_needs_another_directory(config, whole, tmp_path):
  (tmp_path / "answers.jsonl").write_bytes(whole)
  sample(config, tmp_path)
  config = copy.deepcopy(config)
  config.sampling.temperature = 0.5
  with pytest.raises(ValueError, match="config.sampling.temperature differs"):
    sample(config, tmp_path)


def test_reasoning_gym_gives_every_data_set_in_order(tmp_path):
  pytest.importorskip("reasoning_gym")
  config = importlib.import_module("configs.audit.smollm2").get_config("tiny")
  questions = answer_sources.reasoning_gym(config.task, str(tmp_path))
  names = [name for name, _ in config.task.datasets]
  assert [x.group for x in questions] == [x for x in names for _ in range(2)]
  assert all(x.prompt and x.reference for x in questions)
  assert json.loads(questions[0].metadata)["source"] == names[0]


def test_errors_name_the_field(config, tmp_path):
  config = copy.deepcopy(config)
  config.task.group_field = "topic"
  with pytest.raises(ValueError, match="group_field: .*no column 'topic'"):
    sample(config, tmp_path)
  config.task.name = "json"
  with pytest.raises(ValueError, match="config.task.name must be one of"):
    sample(config, tmp_path)
  with pytest.raises(ValueError, match="'small' or 'tiny', got 'huge'"):
    importlib.import_module("configs.audit.smollm2").get_config("huge")
