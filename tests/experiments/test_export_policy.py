"""What a run has learned, as other people's programs read it."""

import functools
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import export_policy, rlvr_agents, rlvr_loops, tasks
from rewardjax.data import pretrained_tokenizer
from rewardjax.models import lora, pretrained, transformer
from rewardjax.training import loop
from rewardjax.training.checkpoints import Checkpointer
from tests.experiments.rlvr_runs import pretrained_config, run, small_config

# One worker makes the runs that these tests share.
pytestmark = pytest.mark.xdist_group("pretrained")


@functools.partial(jax.jit, static_argnums=0)
def logits(model, params, tokens):
  mask = jnp.ones(tokens.shape, bool)
  features = transformer.features(model, params, tokens, mask)
  table = transformer.unembedding(model, params)
  return jnp.einsum("btd,vd->btv", features, table)


def test_adapters_are_merged_and_read_back_to_the_same_logits(
    adapted, tmp_path
):
  workdir, seed = adapted[1], 1
  output = tmp_path / "folder"
  said = export_policy.export(workdir, output, seed=seed)
  assert "arm arm, seed 1, step 2, with its tokenizer" in said
  config = export_policy.read_config(workdir)
  tokenizer = tasks.make_tokenizer(config)
  groups = rlvr_agents.make_groups(config, tokenizer)
  setup = groups.setups["train"]
  agents, _ = export_policy.read_agents(
      workdir, "train", setup, groups.meshes, groups.start
  )
  adapters = jax.tree.map(lambda x: x[0, seed], agents.train.params["policy"])
  tokens = jnp.arange(12).reshape(2, 6) + 20
  attached = lora.attach(setup.frozen, adapters, scale=config.lora.scale)
  expected = logits(setup.model, attached, tokens)
  base = logits(setup.model, setup.frozen, tokens)
  read = pretrained.load(output)
  actual = logits(*read, tokens)
  chex.assert_trees_all_close(actual, expected, rtol=1e-4, atol=1e-4)
  assert jnp.max(jnp.abs(actual - base)) > 1e-2  # something was learned
  again = pretrained_tokenizer.load_tokenizer(output)
  messages = [dict(role="user", content="1+2=")]
  assert again.chat(messages) == tokenizer.chat(messages)
  text = again.chat(messages)
  ids = again.encode(text, special=True)
  assert ids == tokenizer.encode(text, special=True)
  assert again.stop_tokens == tokenizer.stop_tokens
  assert again.context_length == 64


def untrained(run, stage):
  """Stands for `rlvr_loops.train`: saves the state that it would change."""
  folder = run.workdir / "checkpoints" / stage.name
  with Checkpointer(folder) as checkpointer:
    checkpointer.save(stage.num_steps, stage.state)
  return loop.LoopResult(stage.state, {}, stage.num_steps, False, 0)


def test_a_model_trained_from_nothing_goes_without_its_tokenizer(
    tmp_path, data_dir, monkeypatch
):
  """The second of two arms; the run sampled on a device of its own."""
  config = small_config(
      num_steps=2,
      asynchronous=dict(sampler_devices=1),
      arms=dict(one=dict(), two=dict(credit=dict(estimator="centered"))),
  )
  config.warm_up.num_steps = 0
  monkeypatch.setattr(rlvr_loops, "train", untrained)
  workdir, output = tmp_path / "run", tmp_path / "folder"
  run(config, workdir, data_dir)
  said = export_policy.export(workdir, output, arm="two")
  assert "arm two, seed 0, step 2" in said
  assert said.endswith("'char' has no Hugging Face files.")
  model, params = pretrained.load(tmp_path / "folder")
  assert model.vocab_size == 21 and model.width == 16
  assert np.all(np.isfinite(logits(model, params, jnp.ones((1, 3), int))))
  names = {x.name for x in (tmp_path / "folder").iterdir()}
  assert names == {"config.json", "model.safetensors"}


def write_config(folder, checkpoint):
  """A run of two arms that has not begun."""
  config = pretrained_config(checkpoint, arms=dict(one={}, two={}))
  (folder / "config.json").write_text(json.dumps(config.to_dict()))
  return folder


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(), r"config\.arms must be one of one, two; got ''"),
        (dict(arm="three"), r"config\.arms must be one of one, two; got 'thr"),
        (dict(arm="one", seed=2), r"--seed must be in 0 \.\. 1, got 2"),
    ],
)
def test_what_is_not_in_the_run_is_one_line(
    checkpoint, tmp_path, options, message
):
  with pytest.raises(ValueError, match=message):
    export_policy.export(
        write_config(tmp_path, checkpoint), tmp_path / "out", **options
    )


def test_a_folder_without_a_run_or_checkpoint_is_one_line(
    tmp_path, checkpoint
):
  with pytest.raises(FileNotFoundError, match="holds no run"):
    export_policy.export(tmp_path, tmp_path / "out")
  write_config(tmp_path, checkpoint)
  with pytest.raises(FileNotFoundError, match="train holds no checkpoint"):
    export_policy.export(tmp_path, tmp_path / "out", arm="two")
