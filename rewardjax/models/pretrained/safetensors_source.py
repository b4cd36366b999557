"""Hugging Face folders: config.json and one or more safetensors files."""

import json
import os
import pathlib
from typing import Any

import numpy as np

from rewardjax.models.pretrained.source import Source

INDEX = "model.safetensors.index.json"


def open_source(path: str | os.PathLike) -> Source:
  """Reads config.json and the headers; tensors stay on disk.

  Args:
    path: a folder, or one safetensors file with config.json beside it.

  Raises:
    FileNotFoundError: if the config or a file of weights is not there.
    ValueError: if a file is damaged or cut short.
  """
  path = pathlib.Path(path)
  folder = path if path.is_dir() else path.parent
  where = f"load {folder.name}"
  config = _read_json(folder / "config.json")
  holders, shapes = {}, {}
  for file in _files(path):
    opened = _open(where, file)
    for name in opened.keys():
      piece = opened.get_slice(name)
      _check_dtype(where, name, piece.get_dtype())
      shapes[name] = tuple(piece.get_shape())
      holders[name] = opened

  def read(name):
    # Always a copy: get_tensor may return a view of the mapped file.
    return np.array(holders[name].get_tensor(name), np.float32)

  return Source(where, config, shapes, read)


def _files(path: pathlib.Path) -> list[pathlib.Path]:
  if path.is_file():
    return [path]
  if (path / INDEX).exists():
    shards = _read_json(path / INDEX).get("weight_map", {}).values()
    files = [path / name for name in sorted(set(shards))]
  else:
    files = sorted(path.glob("*.safetensors"))
  if not files:
    raise FileNotFoundError(
        f"load: {path} must hold model.safetensors or {INDEX}."
    )
  for file in files:
    if not file.exists():
      raise FileNotFoundError(f"load: {file}, named in {INDEX}, is not there.")
  return files


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  if not path.exists():
    raise FileNotFoundError(f"load: {path} is not there.")
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except ValueError as error:
    raise ValueError(f"load: {path} is not JSON: {error}.") from error


def _open(where: str, file: pathlib.Path) -> Any:
  import safetensors

  try:
    return safetensors.safe_open(file, "np")
  except safetensors.SafetensorError as error:
    raise ValueError(
        f"{where}: {file} is damaged or cut short: {error}."
    ) from error


def _check_dtype(where: str, name: str, dtype: str):
  if dtype not in ("F32", "F16", "BF16", "F64"):
    raise ValueError(
        f"{where}: tensor {name} must be F64, F32, F16 or BF16, got {dtype}."
    )
