"""Small checkpoints in the formats that `models.pretrained` reads."""

import json
import struct

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind

SIZES = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=64,
    vocab_size=40,
    rms_norm_eps=1e-5,
    rope_theta=300.0,
)
# Of GGUF, one layer's: name, and shape in terms of (D, Q, K, F).
LAYER = {
    "attn_norm.weight": "D",
    "attn_q.weight": "QD",
    "attn_k.weight": "KD",
    "attn_v.weight": "KD",
    "attn_output.weight": "DQ",
    "ffn_norm.weight": "D",
    "ffn_gate.weight": "FD",
    "ffn_up.weight": "FD",
    "ffn_down.weight": "DF",
}
DIMS = dict(D=32, Q=32, K=16, F=64, V=40, H=8)


def gguf_tensors(kind="llama", tied=False, seed=0):
  """Random tensors, float32, by GGUF's names; vectors are near 1."""
  rng = np.random.default_rng(seed)
  layer = dict(LAYER)
  if kind == "qwen2":
    layer |= {"attn_q.bias": "Q", "attn_k.bias": "K", "attn_v.bias": "K"}
  if kind == "qwen3":
    layer |= {"attn_q_norm.weight": "H", "attn_k_norm.weight": "H"}
  shapes = {"token_embd.weight": "VD", "output_norm.weight": "D"}
  if not tied:
    shapes["output.weight"] = "VD"
  for i in range(SIZES["num_hidden_layers"]):
    shapes |= {f"blk.{i}.{name}": dims for name, dims in layer.items()}
  draw = lambda dims: rng.normal(
      len(dims) == 1, 0.3, [DIMS[d] for d in dims]
  ).astype(np.float32)
  return {name: draw(dims) for name, dims in shapes.items()}


def gguf_fields(kind="llama"):
  """Metadata of a model of those sizes, by GGUF's names."""
  return {
      f"{kind}.block_count": SIZES["num_hidden_layers"],
      f"{kind}.context_length": 64,
      f"{kind}.embedding_length": SIZES["hidden_size"],
      f"{kind}.feed_forward_length": SIZES["intermediate_size"],
      f"{kind}.attention.head_count": SIZES["num_attention_heads"],
      f"{kind}.attention.head_count_kv": SIZES["num_key_value_heads"],
      f"{kind}.attention.layer_norm_rms_epsilon": SIZES["rms_norm_eps"],
      f"{kind}.rope.freq_base": SIZES["rope_theta"],
  }


def write_gguf(
    path, tensors, fields=None, kind="llama", quantize=None, endian="LITTLE"
):
  """Writes a GGUF file; `quantize` gives matrices another type than F32.

  A uint8 array is written as it is, as Q6_K.
  """
  writer = gguf.GGUFWriter(path, kind, endianess=gguf.GGUFEndian[endian])
  for name, value in (gguf_fields(kind) if fields is None else fields).items():
    if isinstance(value, str):
      writer.add_string(name, value)
    elif isinstance(value, list):
      writer.add_array(name, value)
    elif isinstance(value, float):
      writer.add_float32(name, value)
    else:
      writer.add_uint32(name, value)
  for name, x in tensors.items():
    if x.dtype == np.uint8:
      writer.add_tensor(name, x, raw_dtype=Kind.Q6_K)
    elif quantize is None or x.ndim == 1:
      writer.add_tensor(name, x)
    else:
      stored = gguf.quantize(x, Kind[quantize])
      writer.add_tensor(name, stored, raw_dtype=Kind[quantize])
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path


def _blocks(data, layout):
  """Each block of 32 values: its scales, and its other bytes."""
  size = struct.calcsize(layout)
  rows = data.reshape(-1, size)
  scales = [rows[:, i : i + 2].copy().view(np.float16) for i in (0, 2)]
  scales = [x.astype(np.float64) for x in scales]
  return scales, rows


def _nibbles(packed):
  """The low halves of 16 bytes, then the high ones."""
  return np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float64)


def dequantized(data, kind, shape):
  """Values of stored bytes in float64, from the description of the formats."""
  data = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
  if kind == "F16":
    x = data.view(np.float16)
  elif kind == "BF16":
    x = (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
  elif kind == "Q8_0":
    (scale, _), rows = _blocks(data, "<e32b")
    x = scale * rows[:, 2:].view(np.int8)
  elif kind == "Q4_0":
    (scale, _), rows = _blocks(data, "<e16B")
    x = scale * (_nibbles(rows[:, 2:]) - 8)
  elif kind == "Q4_1":
    (scale, low), rows = _blocks(data, "<ee16B")
    x = scale * _nibbles(rows[:, 4:]) + low
  else:
    x = data.view(np.float32)
  return x.astype(np.float64).reshape(shape)


def write_folder(folder, tensors, config, shards=1):
  """A Hugging Face folder, with an index if there are several shards."""
  from safetensors.numpy import save_file

  folder.mkdir(exist_ok=True)
  (folder / "config.json").write_text(json.dumps(config))
  if shards == 1:
    save_file(tensors, folder / "model.safetensors")
    return folder
  file = lambda i: f"part-{i % shards}.safetensors"
  holder = {name: file(i) for i, name in enumerate(sorted(tensors))}
  for part in set(holder.values()):
    held = {name: x for name, x in tensors.items() if holder[name] == part}
    save_file(held, folder / part)
  index = folder / "model.safetensors.index.json"
  index.write_text(json.dumps({"weight_map": holder}))
  return folder
