"""Checkpoints of other people against what they compute with them."""

import functools
import json
import pathlib
import weakref

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.models import pretrained, stacking, transformer
from rewardjax.models.pretrained import gguf_source
from rewardjax.training import mesh as meshes
from tests.models import checkpoints, reference

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens"
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]


@functools.partial(jax.jit, static_argnums=0)
def _logits(model, params, row):
  hidden = transformer.features(model, params, row, jnp.ones(row.shape, bool))
  return transformer.logits(model, params, hidden)


def logits_of(model, params, tokens):
  return np.asarray(_logits(model, params, np.array([tokens])))[0]


def flat(params):
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {meshes.path_name(path): x for path, x in leaves}


def assert_same(actual, expected):
  actual, expected = flat(actual), flat(expected)
  assert actual.keys() == expected.keys()
  for name, x in expected.items():
    assert actual[name].dtype == x.dtype, name
    np.testing.assert_array_equal(actual[name], x, err_msg=name)


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_logits_equal_those_of_transformers(name):
  """Untied Llama; Qwen2 with biases, sharded bfloat16; tied Qwen3 with norms.

  The folders and their logits were written by transformers.
  """
  golden = json.loads((GOLDENS / name / "logits.json").read_text())
  model, params = pretrained.load(GOLDENS / name)
  actual = logits_of(model, params, golden["tokens"])
  np.testing.assert_allclose(actual, golden["logits"], atol=2e-5)
  assert model.qkv_bias == (name == "qwen2")
  assert model.qk_norm == model.tied == (name == "qwen3")
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(params))


def gguf_reference(kind, tensors, stored):
  """Float64 logits from what stands in the file, never reordered.

  Llama's queries and keys turn neighbouring channels there.
  """
  values = {
      name: checkpoints.dequantized(data, how, tensors[name].shape)
      for name, (data, how) in stored.items()
  }
  dense = lambda i, name: {
      "kernel": values[f"blk.{i}.{name}.weight"].T,
      "bias": values.get(f"blk.{i}.{name}.bias", 0.0),
  }
  scale = lambda name: {"scale": values.get(name)}
  params = {
      "embedding": values["token_embd.weight"],
      "final_norm": scale("output_norm.weight"),
  }
  for i in range(2):
    attention = {
        ours: dense(i, f"attn_{theirs}")
        for ours, theirs in dict(
            query="q", key="k", value="v", out="output"
        ).items()
    }
    attention["query_norm"] = scale(f"blk.{i}.attn_q_norm.weight")
    attention["key_norm"] = scale(f"blk.{i}.attn_k_norm.weight")
    params[f"layers_{i}"] = {
        "attention_norm": scale(f"blk.{i}.attn_norm.weight"),
        "attention": attention,
        "mlp_norm": scale(f"blk.{i}.ffn_norm.weight"),
        "mlp": {x: dense(i, f"ffn_{x}") for x in ("gate", "up", "down")},
    }
  model = transformer.Transformer(
      vocab_size=40,
      width=32,
      num_layers=2,
      num_heads=4,
      num_kv_heads=2,
      mlp_width=64,
      qk_norm=kind == "qwen3",
      rope_base=300.0,
      norm_epsilon=1e-5,
  )
  turn = reference.turn_neighbours if kind == "llama" else reference.turn
  hidden = reference.forward(model, params, TOKENS, turn)
  table = values.get("output.weight", values["token_embd.weight"])
  return hidden @ table.T


@pytest.mark.parametrize(
    "kind, quantize, tied",
    [
        ("llama", None, False),
        ("llama", "F16", True),
        ("llama", "BF16", False),
        ("llama", "Q8_0", True),
        ("llama", "Q4_0", False),
        ("llama", "Q4_1", True),
        ("qwen2", None, True),
        ("qwen3", "Q8_0", False),
    ],
)
def test_gguf_equals_a_float64_reference(tmp_path, kind, quantize, tied):
  tensors = checkpoints.gguf_tensors(kind, tied)
  stored = {}
  for name, x in tensors.items():
    how = quantize if quantize and x.ndim == 2 else "F32"
    stored[name] = gguf.quantize(x, gguf.GGMLQuantizationType[how]), how
  path = checkpoints.write_gguf(
      tmp_path / "model.gguf", tensors, kind=kind, quantize=quantize
  )
  model, params = pretrained.load(path)
  assert model.tied == tied
  actual = logits_of(model, params, TOKENS)
  expected = gguf_reference(kind, tensors, stored)
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_k_quants_are_undone_by_the_gguf_package(tmp_path):
  """One block of 256 values is a row: the kernel of `down` of a wider MLP."""
  tensors = checkpoints.gguf_tensors()
  fields = checkpoints.gguf_fields() | {"llama.feed_forward_length": 256}
  rng = np.random.default_rng(1)
  kind = gguf.GGMLQuantizationType.Q6_K
  for i in range(2):
    for name in ("gate", "up"):
      wide = rng.normal(size=(256, 32)).astype(np.float32)
      tensors[f"blk.{i}.ffn_{name}.weight"] = wide
    rows = rng.integers(0, 256, (32, 210)).astype(np.uint8)
    rows[:, 208:] = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
    tensors[f"blk.{i}.ffn_down.weight"] = rows
  path = checkpoints.write_gguf(tmp_path / "model.gguf", tensors, fields)
  _, params = pretrained.load(path)
  for i in range(2):
    stored = tensors[f"blk.{i}.ffn_down.weight"]
    actual = params[f"layers_{i}"]["mlp"]["down"]["kernel"]
    assert actual.shape == (256, 32)
    np.testing.assert_array_equal(actual.T, gguf.dequantize(stored, kind))


def test_sizes_come_out_as_written(tmp_path):
  path = tmp_path / "model.gguf"
  checkpoints.write_gguf(path, checkpoints.gguf_tensors())
  model, params = pretrained.load(path, dtype=jnp.bfloat16, remat=True)
  assert model == transformer.Transformer(
      vocab_size=40,
      width=32,
      num_layers=2,
      num_heads=4,
      num_kv_heads=2,
      head_dim=8,
      mlp_width=64,
      tied=False,
      rope_base=300.0,
      norm_epsilon=1e-5,
      dtype=jnp.bfloat16,
      remat=True,
  )
  row = jnp.ones((1, 2), int)
  made = jax.eval_shape(model.init, jax.random.key(0), row, row > 0)
  shapes = lambda tree: jax.tree.map(jnp.shape, tree)
  assert shapes(params) == shapes(made["params"])


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_scanned_layers_are_the_unrolled_ones_stacked(name):
  _, params = pretrained.load(GOLDENS / name)
  model, stacked = pretrained.load(GOLDENS / name, scan_layers=True)
  assert model.scan_layers
  assert_same(stacked, stacking.stack_layers(params, 2))
  golden = json.loads((GOLDENS / name / "logits.json").read_text())
  actual = logits_of(model, stacked, golden["tokens"])
  np.testing.assert_allclose(actual, golden["logits"], atol=2e-5)


@pytest.mark.parametrize("scan", [False, True])
def test_one_tensor_is_held_at_a_time(tmp_path, monkeypatch, scan):
  """Each is named once, writable, float32, and gone before the next is read."""
  path = tmp_path / "model.gguf"
  checkpoints.write_gguf(path, checkpoints.gguf_tensors())
  seen = {}
  read = gguf_source._dequantized

  def read_alone(*args):
    assert all(held() is None for held in seen.values()), args
    return read(*args)

  def place(name, x):
    assert name not in seen
    assert x.flags.writeable and x.flags.c_contiguous
    assert x.dtype == np.float32
    seen[name] = weakref.ref(x)
    return x.copy()

  monkeypatch.setattr(gguf_source, "_dequantized", read_alone)
  _, params = pretrained.load(path, place=place, scan_layers=scan)
  assert seen.keys() == flat(params).keys()


def test_sharded_by_rules_as_it_loads():
  mesh = meshes.make_mesh(data=2, fsdp=2, tensor=2)
  rules = meshes.shard_rules()

  def place(name, x):
    spec = meshes.leaf_spec(name, x.shape, mesh, rules, min_size=64)
    return jax.device_put(x, jax.sharding.NamedSharding(mesh, spec))

  for scan in (False, True):
    _, expected = pretrained.load(GOLDENS / "llama", scan_layers=scan)
    model, params = pretrained.load(
        GOLDENS / "llama", place=place, scan_layers=scan
    )
    assert_same(params, expected)
    wanted = meshes.shardings(expected, mesh, rules, min_size=64)
    for x, sharding in zip(jax.tree.leaves(params), jax.tree.leaves(wanted)):
      assert x.sharding.is_equivalent_to(sharding, x.ndim)
    assert params["embedding"].sharding.num_devices == 8
    assert not params["embedding"].sharding.is_fully_replicated
    golden = json.loads((GOLDENS / "llama" / "logits.json").read_text())
    actual = logits_of(model, params, golden["tokens"])
    np.testing.assert_allclose(actual, golden["logits"], atol=2e-5)


def test_place_may_narrow():
  narrow = lambda name, x: jnp.asarray(x, jnp.bfloat16)
  _, params = pretrained.load(GOLDENS / "llama", place=narrow)
  assert all(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(params))
