"""Records of a benchmark's file; every error names file, row and field."""

import importlib.resources
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax.data import jsonl
from rewardjax.types import EvalRow

_JSON = (".jsonl", ".json")
_ROWS_AT_ONCE = 64
_BUFFER = 2**20  # bytes of each column


class Record(NamedTuple):
  """The fields of one row and where it stands, "file:line" or "file, row"."""

  place: str
  fields: Mapping[str, Any]

  def value(
      self, name: str, parse: Callable[[Any], Any], meaning: str
  ) -> Any:
    """The parsed field.

    Raises:
      ValueError: naming place and field, where there is none or `parse`
        refuses it (TypeError, ValueError).
    """
    if name not in self.fields:
      raise ValueError(f"{self.place}: field {name!r} is missing.")
    try:
      return parse(self.fields[name])
    except (TypeError, ValueError) as error:
      raise ValueError(
          f"{self.place}: field {name!r} must be {meaning}, got "
          f"{self.fields[name]!r:.80}."
      ) from error

  def text(self, name: str) -> str:
    """A string."""
    return self.value(name, _text, "a string")

  def name(self, name: str) -> str:
    """A string or an integer, as a string that is not empty."""
    return self.value(name, as_name, "a string or an integer")

  def texts(self, name: str) -> tuple[str, ...]:
    """A list of at least one string; a bare string is a list of one."""
    return self.value(name, as_texts, "a list of strings")

  def integer(self, name: str) -> int:
    """An integer."""
    return self.value(name, _integer, "an integer")

  def one_of(self, name: str, choices: Sequence[str]) -> str:
    """One of the given strings."""
    value = self.text(name)
    if value not in choices:
      raise ValueError(
          f"{self.place}: field {name!r} must be one of {', '.join(choices)}, "
          f"got {value!r:.80}."
      )
    return value

  def some(self, *names: str) -> dict[str, Any]:
    """The fields of these that exist and are not null."""
    return {k: self.fields[k] for k in names if self.fields.get(k) is not None}


def _text(value):
  if not isinstance(value, str):
    raise TypeError
  return value


def as_name(value) -> str:
  """See `Record.name`; TypeError for anything else."""
  if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
    raise TypeError
  return str(value)


def as_texts(value) -> tuple[str, ...]:
  """See `Record.texts`; TypeError for anything else."""
  value = [value] if isinstance(value, str) else value
  if not isinstance(value, list) or not value:
    raise TypeError
  return tuple(map(_text, value))


def _integer(value):
  if isinstance(value, bool) or int(value) != value:
    raise TypeError
  return int(value)


def records(
    path: str | os.PathLike,
    columns: Iterable[str] | None = None,
    *,
    nan: bool = False,
) -> Iterator[Record]:
  """The rows of a JSON or Parquet file, a few in memory at a time.

  Args:
    path: ends in .jsonl or .json (an object per line, or one list of
      objects) or .parquet.
    columns: all that is read of a Parquet file, images for instance only if
      they are named; None reads everything. What the file does not have is
      missing in its rows.
    nan: whether JSON may hold NaN, as `jsonl.records`; Parquet may.

  Raises:
    ValueError: for another ending, and for a file that cannot be read as
      what its ending says.
    OSError: if there is no such file.
  """
  suffix = pathlib.Path(path).suffix
  if suffix in _JSON:
    read = jsonl.listed if jsonl.is_list(path) else jsonl.records
    yield from (Record(*found) for found in read(path, nan=nan))
  else:
    place = os.fspath(path)
    start = 1
    with _parquet(path) as file:
      kept = [
          name
          for name in file.schema_arrow.names
          if columns is None or name in columns
      ]
      for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=kept):
        for i, fields in enumerate(batch.to_pylist(), start):
          yield Record(f"{place}, row {i}", fields)
        start += batch.num_rows


def count(path: str | os.PathLike) -> int:
  """How many rows there are, without reading what is in them.

  Raises: as `records`.
  """
  if pathlib.Path(path).suffix in _JSON:
    if jsonl.is_list(path):
      return sum(1 for _ in jsonl.listed(path))
    with open(path, "rb") as file:
      return sum(bool(line.strip()) for line in file)
  with _parquet(path) as file:
    return file.metadata.num_rows


def _parquet(path):
  if pathlib.Path(path).suffix != ".parquet":
    raise ValueError(
        f"{os.fspath(path)}: expected a name that ends in "
        f"{', '.join(_JSON)} or .parquet."
    )
  try:
    import pyarrow
    import pyarrow.parquet
  except ImportError as error:
    raise ValueError(
        f"{os.fspath(path)}: Parquet needs pyarrow: pip install pyarrow."
    ) from error
  try:
    # The default reads a whole row group at once, often the whole file.
    return pyarrow.parquet.ParquetFile(
        path, buffer_size=_BUFFER, pre_buffer=False
    )
  except pyarrow.ArrowInvalid as error:
    raise ValueError(f"{os.fspath(path)}: {error}") from error


def eval_rows(
    path: str | os.PathLike,
    make: Callable[[Record], EvalRow],
    fields: Iterable[str],
    columns: Iterable[str],
) -> Iterator[EvalRow]:
  """A row made of each record, with the columns it has in its `meta`."""
  columns = tuple(columns)
  found = records(path, {*fields, *columns})

  def rows():
    for record in found:
      row = make(record)
      yield row._replace(meta={**row.meta, **record.some(*columns)})

  return distinct_ids(rows())


def distinct_ids(rows: Iterable[EvalRow]) -> Iterator[EvalRow]:
  """Marks the second row of an id "#2", and so on, in the order of the file."""
  seen: dict[str, int] = {}
  for row in rows:
    seen[row.id] = times = seen.get(row.id, 0) + 1
    yield row if times == 1 else row._replace(id=f"{row.id}#{times}")


def samples() -> pathlib.Path:
  """The folder of small files that come with the package."""
  package = importlib.resources.files("rewardjax.data.benchmarks")
  return pathlib.Path(str(package)) / "samples"


def sample(name: str) -> pathlib.Path:
  """A small file in the schema of that benchmark, in words of our own.

  Raises:
    ValueError: listing the samples, if there is none of that name.
  """
  names = sorted(path.stem for path in samples().glob("*.jsonl"))
  if name not in names:
    raise ValueError(
        f"sample: name must be one of {', '.join(names)}; got {name!r}."
    )
  return samples() / f"{name}.jsonl"
