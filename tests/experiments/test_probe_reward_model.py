import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs.reward_model import ensemble
from experiments import probe_reward_model, reward_model, reward_model_sample
from experiments.probe_reward_model import Encoder, probe
from rewardjax.data.benchmarks import probes, reading

SAMPLE = reading.samples() / "mrmbench"
MODULE = "experiments.probe_reward_model"


def one_hot(folder):
  """Features that hold the labels of the texts of a folder, and no more."""
  (dimensions,) = probes.mrmbench_files(folder).values()
  paths = [path for parts in dimensions.values() for path in parts.values()]
  known = {x.text: x.label for path in paths for x in probes.mrmbench(path)}
  return lambda texts: np.eye(3)[[known[text] for text in texts]]


def bag(texts):
  """Counts of bytes, and 1."""
  count = lambda text: np.bincount([*text.encode()], minlength=128)
  return np.array([[*count(text), 1.0] for text in texts])


def random(texts):
  """Drawn for each text, from the text."""
  seed = lambda text: np.random.default_rng(list(text.encode()))
  return np.array([seed(text).normal(size=8) for text in texts])


def wrong_shape(texts):
  return np.zeros(len(texts))


def no_numbers(texts):
  return list(texts)


def uneven(texts):
  return np.zeros((len(texts), 3 + len(texts[0]) % 2))


@pytest.mark.parametrize("level", ["easy", "hard"])
def test_one_hot_labels_probe_to_1(level, tmp_path):
  shutil.copytree(SAMPLE / f"mrm_{level}", tmp_path / f"mrm_{level}")
  tables = probe(Encoder(one_hot(tmp_path)), tmp_path)
  assert list(tables) == ["overall", level] and len(tables[level]) == 6
  for row in tables[level].values():
    assert row["accuracy"] == row["balanced"] == 1
    assert (row["train"], row["test"]) == (42, 18)


def test_random_features_probe_to_the_majority():
  tables = probe(Encoder(random), SAMPLE)
  for level, num_classes in (("easy", 2), ("hard", 3)):
    mean = tables["overall"][level]
    assert mean["majority"] == pytest.approx(1 / num_classes)
    # Of 108 texts: three standard errors of a share of a half are 0.144.
    assert mean["accuracy"] == pytest.approx(1 / num_classes, abs=0.145)
    assert mean["nearest"] == pytest.approx(1 / 6, abs=0.11)
    table = tables[level].values()
    for column, value in mean.items():
      assert value == pytest.approx(np.mean([row[column] for row in table]))


def test_what_features_hold_is_found_and_what_they_lack_is_not():
  """Bytes tell how long a text is, and nothing of the order of sentences."""
  easy = probe(Encoder(bag), SAMPLE)["easy"]
  assert easy["verbosity"]["accuracy"] == 1
  assert easy["complexity"]["accuracy"] == 1
  assert easy["coherence"]["accuracy"] < 0.85
  # The texts of a dimension are alike.
  assert easy["correctness"]["nearest"] == 1


@pytest.fixture(scope="module")
def two(tmp_path_factory):
  """The folder with two of the dimensions of one level."""
  folder = tmp_path_factory.mktemp("two")
  for name in ("mrm_hard/correctness", "mrm_hard/verbosity"):
    shutil.copytree(SAMPLE / name, folder / name)
  return folder


def test_batches_change_nothing_and_long_texts_are_left_out(two):
  one = probe(Encoder(bag), two, batch_size=7)
  assert one == probe(Encoder(bag), two, batch_size=100)
  words = lambda text: len(text.split())
  short = probe(Encoder(bag, words), two, max_tokens=25)["hard"]
  assert short["correctness"]["train"] == 42
  assert 0 < short["verbosity"]["train"] < 42
  with pytest.raises(ValueError, match="train.json: no row of at most 2 tok"):
    probe(Encoder(bag, words), two, max_tokens=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """The run directory of a tiny ensemble, and the model."""
  config = ensemble.get_config("tiny")
  config.members, config.num_steps, config.checkpoint_every = 2, 2, 2
  workdir = tmp_path_factory.mktemp("trained")
  data = reward_model_sample.make(config.kind, config.sample, 0)
  model = reward_model.train(config, data, workdir=workdir, progress=False)
  model.save(workdir / "model")
  return workdir, model


def test_a_trained_model_is_read_and_not_changed(trained, two, tmp_path):
  workdir, model = trained
  before = {x: x.read_bytes() for x in workdir.rglob("*") if x.is_file()}
  encoder = probe_reward_model.load(str(workdir))
  assert encoder.count_tokens("four") == 4
  found = probe_reward_model.run(
      str(workdir), tmp_path, data=str(two), show=False
  )
  jax.tree.map(
      np.testing.assert_array_equal,
      model.params,
      reward_model.load(workdir).params,
  )
  assert before == {x: x.read_bytes() for x in before}
  assert json.loads((tmp_path / "tables.json").read_text()) == found
  page = (tmp_path / "report.html").read_text()
  for word in ("Overall", "Hard", "verbosity", str(two)):
    assert word in page


def test_features_are_what_the_head_reads(trained):
  """Through the head they are the scores; alone or in a batch."""
  _, model = trained
  texts = ["a short one", "and one that is a good deal longer", "x"]
  features = model.features(texts)
  width = model.config.model.width
  assert features.shape == (3, 2 * width)
  by_member = features.reshape(3, 2, width)
  head = lambda params, x: model._model.head.apply({"params": params}, x)
  scores = jax.vmap(head, (0, 1), 1)(model.params["head"], by_member)
  np.testing.assert_allclose(
      scores[..., 0], model.members(None, texts), atol=1e-5
  )
  alone = model.features(texts[:1])
  np.testing.assert_allclose(alone[0], features[0], atol=1e-5)
  with pytest.raises(ValueError, match="texts must be a list"):
    model.features("one text")


def test_vectors_are_no_texts(tmp_path):
  config = ensemble.get_config("tiny")
  config.members, config.num_steps, config.checkpoint_every = 1, 2, 2
  random = np.random.default_rng(0)
  data = reward_model.from_arrays(
      kind="pairs", chosen=random.normal(size=(40, 3)),
      rejected=random.normal(size=(40, 3)),
  )
  reward_model.train(config, data, progress=False).save(tmp_path)
  with pytest.raises(ValueError, match="reads vectors, not texts"):
    probe_reward_model.load(str(tmp_path))


@pytest.mark.parametrize(
    "features, message",
    [
        (wrong_shape, r"finite numbers \[32, H\] for 32 texts, got shape \(32"),
        (no_numbers, "--features: could not convert"),
        (uneven, "rows of different lengths"),
    ],
)
def test_features_that_are_none(features, message):
  with pytest.raises(ValueError, match=message) as error:
    probe(Encoder(features), SAMPLE)
  assert "\n" not in str(error.value) and len(str(error.value)) < 250


@pytest.mark.parametrize("path", ["plain", "no_such_module:f", "json:no"])
def test_no_such_features(path):
  with pytest.raises(ValueError, match="must be a run directory .* got"):
    probe_reward_model.load(path)


def test_the_command(tmp_path):
  def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", MODULE, f"--workdir={tmp_path}", *arguments],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip

  done = command("--features=tests.experiments.test_probe_reward_model:bag")
  assert done.returncode == 0, done.stderr
  for word in ("balanced", "rows that a program made", "Report: "):
    assert word in done.stdout
  failed = command("--features=json:no")
  assert failed.returncode == 1 and "Traceback" not in failed.stderr
  assert failed.stderr.strip().startswith("error: --features must be")
