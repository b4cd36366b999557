"""What a GGUF file holds, without reading its tensors.

The gguf package's own reader makes an array of every word of the vocabulary,
which takes seconds, and fails on a file that is cut short in many ways.
"""

import mmap
import os
import pathlib
import struct
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

# GGUF's number of a type of value: its code in `struct`.
_CODES = {
    **{0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?"},
    **{10: "Q", 11: "q", 12: "d"},
}
_STRING, _ARRAY = 8, 9


class Entry(NamedTuple):
  """A tensor of the file, as it is stored."""

  name: str
  shape: tuple[int, ...]  # slowest axis first, as NumPy counts
  kind: int  # ggml's number of the quantisation
  start: int  # first byte in the file


class GGUFFile(NamedTuple):
  """Metadata and tensors, the latter still on disk."""

  path: pathlib.Path
  metadata: dict[str, Any]
  tensors: list[Entry]
  data: UInt8[np.ndarray, " bytes"]  # the whole file, memory-mapped


class _Cursor:
  """Reads one value after the other."""

  def __init__(self, data: mmap.mmap):
    self.data, self.at = data, 0

  def numbers(self, code: str, count: int) -> tuple:
    layout = struct.Struct(f"<{count}{code}")
    found = layout.unpack_from(self.data, self.at)
    self.at += layout.size
    return found

  def number(self, code: str):
    return self.numbers(code, 1)[0]

  def string(self) -> str:
    size = self.number("Q")
    end = self.at + size
    if end > len(self.data):
      raise ValueError("a string ends behind the end of the file")
    text = self.data[self.at : end].decode("utf-8", errors="replace")
    self.at = end
    return text

  def value(self, kind: int):
    if kind == _STRING:
      return self.string()
    if kind != _ARRAY:
      return self.number(_CODES[kind])
    of, count = self.number("I"), self.number("Q")
    if of in _CODES:
      return list(self.numbers(_CODES[of], count))
    return [self.value(of) for _ in range(count)]


def open_gguf(where: str, path: str | os.PathLike) -> GGUFFile:
  """Reads metadata and the list of tensors; maps the rest into memory.

  Args:
    where: begins the messages.
    path: of the file.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not GGUF of version 2 or 3, little-endian, or is
      damaged or cut short.
  """
  path = pathlib.Path(path)
  with path.open("rb") as file:
    magic = file.read(4)
    if magic != b"GGUF":
      raise ValueError(
          f"{where}: {path} is not a GGUF file: it begins with {magic!r}."
      )
    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
  cursor = _Cursor(data)
  cursor.at = len(magic)
  # A number of bytes that is damaged asks for more than there is.
  damage = (struct.error, ValueError, LookupError, ArithmeticError)
  try:
    version = cursor.number("I")
    if version not in (2, 3):  # big-endian files give a very large number
      raise ValueError(f"version must be 2 or 3, little-endian, got {version}")
    metadata, tensors = _contents(cursor)
  except damage as error:
    raise ValueError(
        f"{where}: {path} is damaged or cut short: {error}."
    ) from error
  return GGUFFile(path, metadata, tensors, np.frombuffer(data, np.uint8))


def stored(file: GGUFFile, entry: Entry, size: int) -> UInt8[np.ndarray, " n"]:
  """The bytes of a tensor, still on disk.

  Raises:
    ValueError: if the file ends before `size` bytes of it.
  """
  end = entry.start + size
  if end > file.data.size:
    raise ValueError(
        f"{file.path} is cut short: tensor {entry.name} ends at byte {end}, "
        f"the file at {file.data.size}."
    )
  return file.data[entry.start : end]


def _contents(cursor: _Cursor) -> tuple[dict[str, Any], list[Entry]]:
  num_tensors, num_fields = cursor.numbers("Q", 2)
  metadata = {}
  for _ in range(num_fields):
    key = cursor.string()
    metadata[key] = cursor.value(cursor.number("I"))
  found = [_entry(cursor) for _ in range(num_tensors)]
  alignment = metadata.get("general.alignment", 32)
  origin = -(-cursor.at // alignment) * alignment
  tensors = [x._replace(start=origin + x.start) for x in found]
  return metadata, tensors


def _entry(cursor: _Cursor) -> Entry:
  name = cursor.string()
  shape = cursor.numbers("Q", cursor.number("I"))[::-1]
  kind, start = cursor.number("I"), cursor.number("Q")
  return Entry(name, shape, kind, start)
