"""What is exported is what transformers wrote, and loads to the same bits."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from rewardjax.models import pretrained, stacking, transformer
from tests.models.test_pretrained import GOLDENS, assert_same


def stored_by_transformers(name):
  tensors = {}
  for file in (GOLDENS / name).glob("*.safetensors"):
    tensors |= load_file(file)
  return tensors


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_the_tensors_are_those_that_transformers_wrote(tmp_path, name, scan):
  """To the bit, with their names, shapes and dtypes; Qwen2 in bfloat16."""
  expected = stored_by_transformers(name)
  dtype = expected["model.norm.weight"].dtype
  place = lambda name, x: jnp.asarray(x, dtype)
  model, params = pretrained.load(
      GOLDENS / name, scan_layers=scan, place=place
  )
  pretrained.export(tmp_path, model, params, context_length=64)
  actual = load_file(tmp_path / "model.safetensors")
  assert actual.keys() == expected.keys()
  for key, x in expected.items():
    assert actual[key].dtype == x.dtype
    np.testing.assert_array_equal(actual[key], x, err_msg=key)
  ours = json.loads((tmp_path / "config.json").read_text())
  theirs = json.loads((GOLDENS / name / "config.json").read_text())
  for field in ours.keys() & theirs.keys():
    assert ours[field] == theirs[field], field
  assert {"model_type", "architectures", "rope_parameters"} <= ours.keys()


OPTIONS = {
    "plain": {},
    "biases": dict(qkv_bias=True, tied=False),
    "norms": dict(qk_norm=True, head_dim=6),
}


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_model_comes_back_to_the_bit(tmp_path, name, scan):
  model = transformer.Transformer(
      vocab_size=11,
      width=16,
      num_layers=2,
      num_heads=4,
      num_kv_heads=2,
      head_dim=OPTIONS[name].get("head_dim", 4),
      mlp_width=24,
      rope_base=123.0,
      norm_epsilon=3e-6,
      scan_layers=scan,
      **{k: v for k, v in OPTIONS[name].items() if k != "head_dim"},
  )
  row = jnp.ones((1, 2), int)
  shapes = jax.eval_shape(model.init, jax.random.key(0), row, row > 0)
  rng = np.random.default_rng(0)
  draw = lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32)
  params = jax.tree.map(draw, shapes["params"])
  pretrained.export(tmp_path / "new" / "folder", model, params)
  back = pretrained.load(tmp_path / "new" / "folder", scan_layers=scan)
  assert back.model == model
  assert_same(back.params, params)
  other = pretrained.load(tmp_path / "new" / "folder", scan_layers=not scan)
  change = stacking.unstack_layers if scan else stacking.stack_layers
  assert_same(other.params, change(params, 2))


def test_tokenizer_files_are_copied(tmp_path):
  model, params = pretrained.load(GOLDENS / "llama")
  source, target = tmp_path / "source", tmp_path / "target"
  source.mkdir()
  copy = lambda: pretrained.export(
      target, model, params, tokenizer_files_from=source
  )
  with pytest.raises(FileNotFoundError, match="tokenizer.json is not there"):
    copy()
  assert not target.exists()
  for name in ("tokenizer.json", "chat_template.jinja", "unrelated.txt"):
    (source / name).write_text(name)
  copy()
  assert {x.name for x in target.iterdir()} == {
      "tokenizer.json",
      "chat_template.jinja",
      "config.json",
      "model.safetensors",
  }
  assert (target / "tokenizer.json").read_text() == "tokenizer.json"


def test_what_cannot_be_exported_is_named(tmp_path):
  model, params = pretrained.load(GOLDENS / "llama")
  export = lambda model, params: pretrained.export(tmp_path, model, params)
  with pytest.raises(ValueError, match="both qk_norm and qkv_bias"):
    export(model.clone(qk_norm=True, qkv_bias=True), params)
  with pytest.raises(ValueError, match="params must hold layers/"):
    export(model.clone(scan_layers=True), params)
  with pytest.raises(ValueError, match="must hold unembedding"):
    export(model, {k: x for k, x in params.items() if k != "unembedding"})
  with pytest.raises(ValueError, match=r"embedding must have shape \(32, 16\)"):
    export(model, params | {"embedding": jnp.ones((3, 16))})
  with pytest.raises(ValueError, match="embedding must be one of float32"):
    export(model, params | {"embedding": jnp.ones((32, 16), int)})
  assert not (tmp_path / "model.safetensors").exists()
