"""GGUF files: llama.cpp's format, quantised or not."""

import math
import os
import pathlib
import re
from typing import Any

import numpy as np

from rewardjax.core import gguf_file
from rewardjax.core.gguf_file import Entry, GGUFFile
from rewardjax.models.pretrained import names
from rewardjax.models.pretrained.config import ARCHITECTURES
from rewardjax.models.pretrained.source import Source

# Hugging Face's field: GGUF's, below the name of the architecture.
_REQUIRED = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "intermediate_size": "feed_forward_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}
_OPTIONAL = {
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "rope_theta": "rope.freq_base",
    "max_position_embeddings": "context_length",
}
# Fields that may stand in a file only with these values; None is absent.
_ONLY = {
    "attention.sliding_window": (None, 0),
    "expert_count": (None, 0),
    "rope.scaling.type": (None, "none"),
}


def open_source(path: str | os.PathLike) -> Source:
  """Reads what the file says of itself; tensors stay on disk.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is no intact GGUF file, or naming the field that is
      missing or that asks for something our Transformer does not have.
  """
  where = f"load {pathlib.Path(path).name}"
  file = gguf_file.open_gguf("load", path)
  entries = {names.from_gguf(x.name): x for x in file.tensors}
  shapes = {name: x.shape for name, x in entries.items()}
  config = _config(where, file.metadata, shapes)
  stored = {name: _stored(where, file, x) for name, x in entries.items()}

  def read(name):
    x = _dequantized(where, entries[name], stored[name])
    heads = _permuted_heads(config, name)
    return x if heads is None else _halves_from_neighbours(x, heads)

  return Source(where, config, shapes, read)


def _config(where: str, metadata: dict, shapes: dict) -> dict[str, Any]:
  kind = metadata.get("general.architecture")
  if kind not in ARCHITECTURES:
    raise ValueError(
        f"{where}: general.architecture must be one of "
        f"{', '.join(ARCHITECTURES)}; got {kind!r}."
    )
  get = lambda field: metadata.get(f"{kind}.{field}")
  for field, allowed in _ONLY.items():
    if get(field) not in allowed:
      raise ValueError(
          f"{where}: {kind}.{field} = {get(field)!r} is not supported."
      )
  config = {theirs: get(field) for theirs, field in _OPTIONAL.items()}
  for theirs, field in _REQUIRED.items():
    config[theirs] = get(field)
    if config[theirs] is None:
      raise ValueError(f"{where}: field {kind}.{field} is missing.")
  _check_heads(where, kind, get, config)
  table = shapes.get("model.embed_tokens.weight")
  if table is None:
    raise ValueError(f"{where}: tensor token_embd.weight is missing.")
  # Both are decimal fractions that were rounded to float32.
  for field in ("rms_norm_eps", "rope_theta"):
    if config[field] is not None:
      config[field] = float(str(np.float32(config[field])))
  return config | dict(model_type=kind, vocab_size=table[0])


def _check_heads(where: str, kind: str, get, config: dict):
  for field in ("num_attention_heads", "num_key_value_heads"):
    if isinstance(config[field], list):
      raise ValueError(
          f"{where}: {(_REQUIRED | _OPTIONAL)[field]} must be one number for "
          f"all layers, got {config[field]}."
      )
  head = config["head_dim"]
  head = head or config["hidden_size"] // config["num_attention_heads"]
  config["head_dim"] = head
  for field in ("attention.value_length", "rope.dimension_count"):
    if get(field) not in (None, head):
      raise ValueError(
          f"{where}: {kind}.{field} must be the {head} channels of a head, got "
          f"{get(field)}."
      )


def _stored(where: str, file: GGUFFile, entry: Entry) -> np.ndarray:
  """The bytes of a tensor, [rows, bytes of a row]; nothing is read.

  All tensors are looked up before the first is read, so that a file that is
  cut short is found out at once.
  """
  import gguf

  try:
    kind = gguf.GGMLQuantizationType(entry.kind)
    shape = gguf.quant_shape_to_byte_shape(entry.shape, kind)
    return gguf_file.stored(file, entry, math.prod(shape)).reshape(shape)
  except ValueError as error:
    raise ValueError(f"{where}: tensor {entry.name}: {error}") from error


def _dequantized(where: str, entry: Entry, stored: np.ndarray) -> np.ndarray:
  """The tensor in float32, in memory of its own."""
  import gguf

  kind = gguf.GGMLQuantizationType(entry.kind)
  try:
    x = gguf.dequantize(stored, kind)
  except NotImplementedError as error:
    raise ValueError(f"{where}: tensor {entry.name}: {error}.") from error
  return x.copy() if np.may_share_memory(x, stored) else x


def _permuted_heads(config: dict[str, Any], name: str) -> int | None:
  """Number of heads of a tensor whose channels llama.cpp has reordered."""
  found = re.search(r"self_attn\.(q|k)_proj\.", name)
  if config["model_type"] != "llama" or not found:
    return None
  heads = config["num_attention_heads"]
  return heads if found[1] == "q" else config["num_key_value_heads"] or heads


def _halves_from_neighbours(x: np.ndarray, heads: int) -> np.ndarray:
  """Puts channel pairs (2i, 2i + 1) of each head to (i, i + H/2).

  llama.cpp rotates neighbours in Llama models, and reorders their weights
  when it converts them; Qwen's it leaves alone.
  """
  pairs = x.reshape(heads, -1, 2, *x.shape[1:])
  return pairs.swapaxes(1, 2).reshape(x.shape)
