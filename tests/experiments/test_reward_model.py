"""Training, scoring and keeping of `experiments.reward_model`."""

import dataclasses
import gc
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.reward_model import base, ensemble, smollm2, steps, users
from experiments import (
    evaluate_rewards,
    reward_model,
    reward_model_report,
    reward_model_sample,
)
from experiments.evaluate_options import Options
from rewardjax.models import lora

# They share what is dear to make.
pytestmark = pytest.mark.xdist_group("reward_model")

ROOT = pathlib.Path(__file__).parents[2]


def tree_close(x, y, **how):
  close = lambda a, b: np.testing.assert_allclose(a, b, **how)
  jax.tree.map(close, x, y)


class Run:
  """Three members on the transformer, with everything that a run leaves."""

  def __init__(self, workdir):
    self.workdir = workdir
    self.config = ensemble.get_config("tiny")
    self.config.aggregate.name = "mean"
    self.model = self.again()

  def again(self, **options):
    return reward_model.run(
        self.config, self.workdir, show=False, **options
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  return Run(tmp_path_factory.mktemp("reward_model"))


TEXTS = ["aab", "fffe", "a" * 20, "bcdbcd"]
PROMPTS = ["x", "yy", "x", "a longer prompt"]


def test_a_run_leaves_its_metrics_tables_and_page(run):
  rows = run.model.history
  assert [row["step"] for row in rows] == [2, 4, 6, 8]
  assert all(len(row["held_out/loss"]) == 3 for row in rows)
  losses = np.array([row["held_out/loss"] for row in rows])
  assert (losses[-1] < losses[0]).all()
  found = json.loads((run.workdir / "measures.json").read_text())
  assert set(found["sources"]) == {"long", "short"}
  assert found["overall"]["accuracy"]["low"] > 0
  page = (run.workdir / "report.html").read_text()
  for title in ("On rows kept for testing", "By source", "Reliability"):
    assert f"<h2>{title}</h2>" in page


def test_the_reliability_figure_is_kept_or_missed(run, tmp_path, monkeypatch):
  monkeypatch.setattr(reward_model_report, "FIGURES", tmp_path)
  kept = reward_model_report.keep_reliability(run.workdir, "mine")
  assert kept == tmp_path / "mine_reliability.png"
  assert kept.read_bytes().startswith(b"\x89PNG")
  with pytest.raises(ValueError, match="only comparisons have prob"):
    reward_model_report.keep_reliability(tmp_path / "none", "mine")


def kill_command(workdir):
  """Kills a command -9 as soon as its first checkpoint is there."""
  command = [sys.executable, "-m", "experiments.reward_model"]
  flags = ["--config=configs/reward_model/ensemble.py:tiny",
           "--config.aggregate.name=mean", f"--workdir={workdir}"]
  with subprocess.Popen(
      [*command, *flags], cwd=ROOT, stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
  ) as process:
    first = workdir / "checkpoints" / "step_00000004"
    while not first.exists() and process.poll() is None:
      time.sleep(0.01)
    process.kill()
  assert process.returncode == -signal.SIGKILL


def test_a_command_killed_and_resumed_ends_with_the_same_bits(run, tmp_path):
  """Parameters, metrics, early stopping; a later checkpoint is lost too."""
  copy = tmp_path / "copy"
  kill_command(copy)
  shutil.rmtree(copy / "checkpoints" / "step_00000008", ignore_errors=True)
  assert not (copy / "model").exists()
  resumed = reward_model.run(run.config, copy, show=False)
  jax.tree.map(np.testing.assert_array_equal, resumed.params, run.model.params)
  assert resumed.about == run.model.about
  for name in ("metrics.jsonl", "measures.json"):
    assert (copy / name).read_bytes() == (run.workdir / name).read_bytes()
  run.config.seed = 1
  try:
    with pytest.raises(ValueError, match="differs from"):
      reward_model.run(run.config, copy, show=False)
  finally:
    run.config.seed = 0


def test_a_member_alone_on_a_mesh_in_microbatches_is_that_of_the_ensemble(run):
  """Independent members; eight blocks of a batch give what one gives."""
  config = ensemble.get_config("tiny")
  config.members, config.first_member = 1, 2
  config.mesh.data, config.num_microbatches = 4, 2
  data = reward_model_sample.make("pairs", config.sample, config.seed)
  alone = reward_model.train(config, data, progress=False)
  third = jax.tree.map(lambda x: x[2:], run.model.params)
  tree_close(alone.params, third, rtol=2e-3, atol=2e-5)
  losses = [[row["loss"][-1] for row in m.history] for m in (alone, run.model)]
  np.testing.assert_allclose(*losses, rtol=1e-4)


def test_scores_depend_on_neither_neighbours_nor_padding(run):
  model = run.model
  together = model.members(PROMPTS, TEXTS)
  assert np.ptp(together, axis=0).min() > 1e-3
  alone = [model.members([p], [t])[0] for p, t in zip(PROMPTS, TEXTS)]
  np.testing.assert_allclose(together, alone, atol=2e-5)
  back = model.members(PROMPTS[::-1], TEXTS[::-1])[::-1]
  np.testing.assert_allclose(together, back, atol=2e-5)
  # One text to a row, all rows as long as the longest.
  padded = dataclasses.replace(
      model, backbone=model.backbone._replace(packs=False)
  )
  np.testing.assert_allclose(
      together, padded.members(PROMPTS, TEXTS), atol=2e-5
  )
  # More texts than fit a block, streamed in their order.
  many = model.members(PROMPTS * 8, TEXTS * 8)
  np.testing.assert_allclose(many, np.tile(together, (8, 1)), atol=2e-5)


def test_members_are_read_on_one_scale(run):
  model, about = run.model, run.model.about
  members = model.members(PROMPTS, TEXTS)
  scaled = (members - np.array(about.offsets)) / np.array(about.scales)
  scaled = scaled * np.mean(about.scales)
  expected = {
      "mean": scaled.mean(-1),
      "median": np.median(scaled, -1),
      "min": scaled.min(-1),
      "mean_minus_std": scaled.mean(-1) - 2 * scaled.std(-1),
      "mean_minus_variance": scaled.mean(-1) - 2 * scaled.var(-1),
  }
  for name, value in expected.items():
    config = run.config.copy_and_resolve_references()
    config.aggregate.update(name=name, coefficient=2.0)
    found = dataclasses.replace(model, config=config).score(PROMPTS, TEXTS)
    np.testing.assert_allclose(found, value, atol=1e-4)
  p = model.probability(["x"], ["aaa"], ["fff"])
  q = model.probability(["x"], ["fff"], ["aaa"])
  np.testing.assert_allclose(p + q, 1, atol=1e-6)


def test_what_is_loaded_scores_alike_also_for_benchmarks(run, tmp_path):
  loaded = reward_model.load(run.workdir)
  expected = run.model.score(PROMPTS, TEXTS)
  np.testing.assert_array_equal(loaded.score(PROMPTS, TEXTS), expected)
  scorer = evaluate_rewards.load_scorer(str(run.workdir))
  found = scorer(PROMPTS, TEXTS, meta=[{}] * 4)
  np.testing.assert_array_equal(found, expected)
  options = Options("vl_rewardbench", scorer=str(run.workdir))
  tables = evaluate_rewards.evaluate(options, tmp_path, show=False)
  assert "VL-RewardBench" in tables["overall"]


# Reads that were begun together with the one that failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_cut_or_missing_model_says_so(run, tmp_path):
  with pytest.raises(ValueError, match="no reward model in"):
    reward_model.load(tmp_path)
  copy = tmp_path / "copy"
  shutil.copytree(run.workdir / "model", copy)
  files = [x for x in (copy / "parameters").rglob("*") if x.is_file()]
  largest = max(files, key=lambda x: x.stat().st_size)
  largest.write_bytes(largest.read_bytes()[:100])
  with pytest.warns(UserWarning, match="is damaged"):
    with pytest.raises(RuntimeError, match="no intact checkpoint"):
      reward_model.load(copy)
  gc.collect()


def test_texts_that_cannot_be_scored_are_named(run):
  with pytest.raises(ValueError, match="completion 1: must be a text"):
    run.model.score(["x", "x"], ["a", " "])
  with pytest.raises(ValueError, match="must be lists of texts"):
    run.model.score("x", "a")
  with pytest.raises(ValueError, match="was trained on pairs, not steps"):
    run.model.score_steps(["x"], [["a"]])


# Heads on given features: programs that compile in no time.


def vectors(seed=0, num_rows=120):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(num_rows, 2, 3)).astype(np.float32)
  gold = x @ np.array([1.0, -2.0, 0.5], np.float32)
  return x, gold


def fast_config(**changes):
  config = base.get_config("tiny")
  config.num_steps, config.log_every, config.checkpoint_every = 40, 20, 20
  config.optimizer.learning_rate = 0.1
  config.update_from_flattened_dict(changes)
  return config


def vector_data(kind):
  x, gold = vectors()
  better = gold[:, 0] > gold[:, 1]
  first = np.where(better, 0, 1)
  rows = np.arange(len(x))
  pair = dict(chosen=x[rows, first], rejected=x[rows, 1 - first])
  gap = np.abs(gold[:, 0] - gold[:, 1])
  label = np.where(gap < 0.7, 0, 1)
  columns = {
      "pairs": pair | dict(strength=gap),
      "ties": pair | dict(label=label),
      "ratings": dict(completion=x[:, 0], rating=np.clip(gold[:, 0], -9, 9)),
      "rankings": dict(
          completions=x, ranks=np.stack([first + 1, 2 - first], 1)
      ),
  }[kind]
  return reward_model.from_arrays(kind=kind, **columns)


KINDS = [
    ("ties", {"loss.name": "rao_kupper"}),
    ("ratings", {"loss.name": "regression", "loss.scale": (-9.0, 9.0)}),
    ("rankings", {"loss.name": "listwise"}),
    ("pairs", {"loss.name": "ordinal"}),
]


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_every_kind_of_judgement_is_learned_from_arrays(kind, changes):
  config = fast_config(**changes)
  trained = reward_model.train(config, vector_data(kind), progress=False)
  x, gold = vectors(seed=1)
  scores = trained.score(None, x[:, 0])
  assert np.corrcoef(scores, gold[:, 0])[0, 1] > 0.9
  name, first = next(iter(trained.measures.overall.items()))
  assert name == "absolute error" or first.value > 0.8


def test_training_stops_where_nothing_is_gained_and_stays_so(tmp_path):
  changes = {"patience": 2, "num_steps": 200, "optimizer.learning_rate": 0.0}
  config = fast_config(**changes)
  data = vector_data("pairs")
  first = reward_model.train(config, data, workdir=tmp_path, progress=False)
  # The first look is the best; two more are waited for.
  assert [row["step"] for row in first.history] == [20, 40, 60]
  assert first.history[-1]["best_step"] == [20]
  before = (tmp_path / "metrics.jsonl").read_bytes()
  reward_model.train(config, data, workdir=tmp_path, progress=False)
  assert (tmp_path / "metrics.jsonl").read_bytes() == before
  stopped = fast_config(**changes | {"slug": "other"})
  with pytest.raises(ValueError, match="config.slug differs"):
    reward_model.train(stopped, data, workdir=tmp_path, progress=False)


def test_features_that_are_not_finite_are_named(tmp_path):
  config = fast_config()
  trained = reward_model.train(config, vector_data("pairs"), progress=False)
  with pytest.raises(ValueError, match="completion 1: must be a finite vec"):
    trained.score(None, [np.zeros(3), np.full(3, np.nan)])
  with pytest.raises(ValueError, match="must be a finite vector of 3"):
    trained.score(None, [np.zeros(2)])


class Bag(nn.Module):
  """Running means of embeddings: a backbone that knows no segments."""

  @nn.compact
  def __call__(self, tokens, mask):
    x = nn.Embed(259, 8)(jnp.where(mask, tokens, 0)) * mask[..., None]
    return jnp.cumsum(x, 1) / jnp.maximum(jnp.cumsum(mask, 1), 1)[..., None]


def bag():
  one = jnp.zeros((1, 1), jnp.int32)
  model = Bag()
  return reward_model.custom(
      lambda key: model.init(key, one, one == 0), model.apply
  )


def test_a_file_and_a_network_of_ones_own_take_three_lines(tmp_path):
  config = fast_config(**{"sample.num_prompts": 60})
  path = reward_model_sample.write(
      tmp_path / "pairs.jsonl", "pairs", config.sample, seed=0
  )
  data = reward_model.read(path, kind="pairs")
  trained = reward_model.train(config, data, backbone=bag(), progress=False)
  scores = trained.score(["x"] * 3, ["aaab", "abef", "fffe"])
  assert scores[0] > scores[1] > scores[2]
  assert trained.measures.overall["accuracy on gold labels"].value > 0.7
  saved = trained.save(tmp_path / "kept")
  loaded = reward_model.load(saved, backbone=bag())
  assert loaded.score(["x"], ["aaab"]) == pytest.approx(scores[0], abs=1e-5)


def test_users_who_want_opposite_things_are_told_apart():
  config = users.get_config("tiny")
  config.num_steps, config.log_every, config.checkpoint_every = 100, 50, 100
  config.sample.num_prompts, config.batch_size = 60, 32
  config.optimizer.learning_rate = 0.1
  data = reward_model_sample.make("pairs", config.sample, 0)
  trained = reward_model.train(config, data, backbone=bag(), progress=False)
  assert trained.about.users == ("ann", "ben", "cleo", "dan")
  names = ["ann", "ben", "ann", "ben", None, "nobody"]
  texts = ["aaaa", "aaaa", "ffff", "ffff", "aaaa", "aaaa"]
  scores = trained.score(["x"] * 6, texts, users=names)
  assert scores[0] > scores[2] and scores[1] < scores[3]
  assert scores[4] == scores[5]
  with pytest.raises(ValueError, match="needs rows with the field 'user'"):
    reward_model.train(config, vector_data("pairs"))


@pytest.mark.parametrize("loss", ["prm", "orm"])
def test_steps_are_scored_one_by_one_and_as_a_whole(loss):
  config = steps.get_config("tiny")
  config.num_steps, config.log_every, config.checkpoint_every = 60, 30, 60
  config.loss.name, config.optimizer.learning_rate = loss, 0.1
  config.sample.num_prompts = 60
  data = reward_model_sample.make("steps", config.sample, 0)
  trained = reward_model.train(config, data, backbone=bag(), progress=False)
  texts = [["aaaa."], ["aaaa.", "ffff.", "ffff."]]
  found = trained.score_steps(["x", "x"], texts)
  assert [len(x) for x in found] == [1, 3]
  assert all(((0 < x) & (x < 1)).all() for x in found)
  whole = trained.score(["x", "x"], texts)
  how = {"prm": np.min, "orm": lambda x: x[-1]}[loss]
  np.testing.assert_allclose(whole, [how(x) for x in found], atol=1e-5)
  assert whole[0] > whole[1]
  one = trained.score(["x"], ["aaaa.\n\nffff."])
  assert len(one) == 1


def test_a_pretrained_model_is_trained_by_adapters(monkeypatch):
  """Its own parameters are frozen, and not kept with the reward model."""
  from experiments import reward_model_backbones
  from rewardjax.data import tokenizers
  from rewardjax.models import pretrained, transformer

  model = transformer.Transformer(
      vocab_size=259, width=16, num_layers=1, num_heads=2, mlp_width=16
  )
  one = jnp.zeros((1, 2), jnp.int32)
  params = jax.jit(model.init)(jax.random.key(0), one, one == 0)["params"]
  loaded = lambda *args, **options: pretrained.Pretrained(model, params)
  monkeypatch.setattr(reward_model_backbones.pretrained, "load", loaded)
  monkeypatch.setattr(
      reward_model_backbones.pretrained, "find", lambda name: name
  )
  monkeypatch.setattr(
      reward_model_backbones, "load_tokenizer",
      lambda path: tokenizers.ByteTokenizer(),
  )
  config = smollm2.get_config("tiny")
  config.model.chat, config.members = False, 1
  backbone = reward_model_backbones.make(config)
  drawn = backbone.init(jax.random.key(1))
  assert all(isinstance(x, lora.LowRank) for x in drawn.values())
  tokens, mask = jnp.arange(4)[None], jnp.ones((1, 4), bool)
  args = (tokens, mask, jnp.ones((1, 4), jnp.int32))
  plain = jax.jit(lambda: transformer.features(model, params, *args))()
  adapted = jax.jit(backbone.apply)(drawn, backbone.frozen, *args)
  np.testing.assert_allclose(adapted, plain, atol=1e-6)
  config.lora.rank = 0
  backbone = reward_model_backbones.make(config)
  assert not backbone.draws and backbone.init(None) is params


def test_the_command_names_what_is_wrong_in_one_line(tmp_path):
  path = tmp_path / "bad.jsonl"
  path.write_text('{"prompt": "p", "chosen": "a", "rejected": "a"}\n')
  command = [sys.executable, "-m", "experiments.reward_model"]
  found = subprocess.run(
      [*command, f"--data={path}"], cwd=ROOT, capture_output=True, text=True,
      timeout=300,
  )
  assert found.returncode == 1
  assert found.stderr.splitlines()[-1].startswith("error: ")
  assert "bad.jsonl:1: fields 'chosen' and 'rejected' are equal" in found.stderr
