"""From a `Transformer` and its parameters to a Hugging Face folder."""

import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import PyTree

from rewardjax.models.pretrained import config, names
from rewardjax.models.transformer import Transformer

_CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
)


def export(
    directory: str | os.PathLike,
    model: Transformer,
    params: PyTree,
    *,
    tokenizer_files_from: str | os.PathLike | None = None,
    context_length: int | None = None,
) -> None:
  """Writes config.json and model.safetensors as transformers reads them.

  Tensors keep their dtype and every bit. They are brought to the host one at
  a time; the file appears under its name once it is complete.

  Args:
    directory: made if missing; files of the same names are replaced.
    model: becomes Llama, Qwen2 (qkv_bias) or Qwen3 (qk_norm).
    params: of `model`, layers stacked or not.
    tokenizer_files_from: a Hugging Face folder whose tokenizer files are
      copied; a tokenizer that was read from a GGUF file saves itself.
    context_length: positions the model was trained for.

  Raises:
    FileNotFoundError: if there is no tokenizer to copy.
    ValueError: if no architecture has the model's options, or a parameter is
      missing, of another shape, or not of a floating dtype.
  """
  directory = pathlib.Path(directory)
  fields = config.from_transformer(model, context_length=context_length)
  tensors = _tensors(model, params)
  fields["torch_dtype"] = str(params["embedding"].dtype)
  files = _tokenizer_files(tokenizer_files_from)
  directory.mkdir(parents=True, exist_ok=True)
  _write(directory / "model.safetensors", tensors)
  text = json.dumps(fields, indent=2) + "\n"
  (directory / "config.json").write_text(text, encoding="utf-8")
  for file in files:
    shutil.copyfile(file, directory / file.name)


class _Tensor:
  """A tensor of the exported file, not yet on the host."""

  def __init__(self, leaf: names.Leaf, array, index: int | None):
    self._leaf, self._array, self._index = leaf, array, index
    self.shape = leaf.stored_shape
    self.dtype = np.dtype(array.dtype)

  def bytes(self) -> bytes:
    x = self._array if self._index is None else self._array[self._index]
    x = np.asarray(x)
    return (x.T if self._leaf.transposed else x).tobytes()


def _tensors(model: Transformer, params: PyTree) -> dict[str, _Tensor]:
  """By Hugging Face's name."""
  found = {}
  for leaf in names.leaves(model):
    if not leaf.in_layer:
      found[leaf.name] = _Tensor(leaf, _at(params, leaf.path, leaf.shape), None)
      continue
    stacked = (model.num_layers, *leaf.shape)
    for i in range(model.num_layers):
      if model.scan_layers:
        array, index = _at(params, f"layers/{leaf.path}", stacked), i
      else:
        array, index = _at(params, f"layers_{i}/{leaf.path}", leaf.shape), None
      found[leaf.name.format(i)] = _Tensor(leaf, array, index)
  return found


def _at(params: PyTree, path: str, shape: tuple[int, ...]):
  node = params
  for part in path.split("/"):
    if part not in node:
      raise ValueError(f"export: params must hold {path}.")
    node = node[part]
  if node.shape != shape:
    raise ValueError(
        f"export: {path} must have shape {shape}, got {node.shape}."
    )
  if str(node.dtype) not in _CODES:
    raise ValueError(
        f"export: {path} must be one of {', '.join(_CODES)}; got {node.dtype}."
    )
  return node


def _write(path: pathlib.Path, tensors: Mapping[str, _Tensor]):
  """The safetensors format: length of a header, the header, the bytes."""
  header, start = {"__metadata__": {"format": "pt"}}, 0
  for name, x in tensors.items():
    end = start + math.prod(x.shape) * x.dtype.itemsize
    header[name] = dict(
        dtype=_CODES[str(x.dtype)],
        shape=list(x.shape),
        data_offsets=[start, end],
    )
    start = end
  text = json.dumps(header).encode()
  text += b" " * (-len(text) % 8)  # the bytes start aligned
  part = path.with_name(path.name + ".part")
  with part.open("wb") as file:
    for piece in _pieces(text, tensors):
      file.write(piece)
  part.replace(path)


def _pieces(
    header: bytes, tensors: Mapping[str, _Tensor]
) -> Iterator[bytes]:
  yield len(header).to_bytes(8, "little")
  yield header
  for x in tensors.values():
    yield x.bytes()


def _tokenizer_files(folder) -> list[pathlib.Path]:
  if folder is None:
    return []
  files = [pathlib.Path(folder) / name for name in _TOKENIZER_FILES]
  found = [file for file in files if file.exists()]
  if files[0] not in found:
    raise FileNotFoundError(f"export: {files[0]} is not there.")
  return found
