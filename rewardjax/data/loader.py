"""Endless shuffled batches that continue exactly where they stopped.

The order of rows is a function of (seed, epoch) alone, and a global batch is
cut into contiguous blocks, one per process: neither the number of processes
nor a restart changes what the batch of step k holds.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from rewardjax.core import checks


def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
  """Stacks numbers into NumPy arrays `[N, ...]`; text becomes a `list[str]`.

  Raises:
    ValueError: naming the field, if rows differ in fields or shapes.
  """
  batch = {}
  for name in rows[0]:
    try:
      column = [row[name] for row in rows]
      batch[name] = _column(column)
    except (KeyError, ValueError) as error:
      raise ValueError(f"collate: field {name!r}: {error!r}.") from error
  return batch


def _column(values: list[Any]) -> Any:
  first = values[0]
  if isinstance(first, bytes):  # tfds reads text as bytes
    return [value.decode("utf-8") for value in values]
  return values if isinstance(first, str) else np.stack(values)


class _Block:
  """The rows of one process, in order, as a random-access sequence."""

  def __init__(self, rows, batch_size: int, index: int, count: int):
    self._rows = rows
    self._batch_size = batch_size
    self._local = batch_size // count
    self._offset = index * self._local

  def __len__(self) -> int:
    return len(self._rows) // self._batch_size * self._local

  def __getitem__(self, i: int):
    step, j = divmod(int(i), self._local)
    return self._rows[step * self._batch_size + self._offset + j]


class Loader:
  """Iterates over collated batches of a random-access source.

  An instance is its own iterator. `get_state` is a small JSON-able dict to
  keep with a checkpoint; after `set_state` the batches that follow are bit
  for bit those that would have followed.
  """

  def __init__(
      self,
      source: Sequence[Any],
      *,
      batch_size: int,
      seed: int,
      shuffle: bool = True,
      num_epochs: int | None = None,
      process_index: int = 0,
      process_count: int = 1,
      num_threads: int = 0,
      collate_fn: Callable[[Sequence[Any]], Any] = collate,
  ):
    """Builds the pipeline; reads nothing yet.

    Args:
      source: has `len` and `source[i]`, such as a tfds data source or a list.
      batch_size: rows of a global batch; each process gets an equal block.
      seed: of the order, in [0, 2^32).
      shuffle: a new order every epoch; False keeps the source's order.
      num_epochs: None is endless. A batch may span two epochs; rows at the
        end of the last epoch that do not fill a batch are left out.
      process_index: usually `jax.process_index()`.
      process_count: usually `jax.process_count()`.
      num_threads: of reading ahead; 0 reads when asked.
      collate_fn: from a list of rows to a batch.

    Raises:
      ValueError: naming the argument, for an empty source or sizes that do
        not fit.
    """
    checks.at_least("Loader", 1, batch_size=batch_size, source=len(source))
    checks.at_least("Loader", 1, process_count=process_count)
    checks.within("Loader", 0, process_count - 1, process_index=process_index)
    checks.within("Loader", 0, 2**32 - 1, seed=seed)
    if batch_size % process_count:
      raise ValueError(
          f"Loader: batch_size {batch_size} must be a multiple of "
          f"process_count {process_count}."
      )
    if num_epochs is not None and num_epochs * len(source) < batch_size:
      raise ValueError(
          f"Loader: {num_epochs} epochs of {len(source)} rows do not fill one "
          f"batch of {batch_size}."
      )
    self._order = {
        "seed": seed,
        "shuffle": shuffle,
        "batch_size": batch_size,
        "num_rows": len(source),
    }
    self._iterator = _make_iterator(
        source,
        seed=seed,
        shuffle=shuffle,
        num_epochs=num_epochs,
        block=(batch_size, process_index, process_count),
        collate_fn=collate_fn,
        num_threads=num_threads,
    )

  def __iter__(self) -> Iterator[Any]:
    return self

  def __next__(self) -> Any:
    return next(self._iterator)

  def get_state(self) -> dict[str, Any]:
    """What `set_state` needs: the step, and the order it belongs to."""
    return {"step": self._iterator.get_state()["next_index"], **self._order}

  def set_state(self, state: dict[str, Any]) -> None:
    """Continues after the batch at which `state` was taken.

    Raises:
      ValueError: naming the field, if the state belongs to another order of
        rows (seed, batch size, number of rows).
    """
    for name, value in self._order.items():
      saved = state.get(name)
      if saved != value:
        raise ValueError(
            f"Loader.set_state: {name} was {saved!r} when the state was saved "
            f"and is {value!r} now: other batches would follow."
        )
    self._iterator.set_state({"next_index": state["step"]})


def _make_iterator(
    source, *, seed, shuffle, num_epochs, block, collate_fn, num_threads
):
  import grain  # heavy, and an extra

  rows = grain.MapDataset.source(source)
  rows = rows.seed(seed).shuffle() if shuffle else rows
  rows = rows.repeat(num_epochs)
  batches = grain.MapDataset.source(_Block(rows, *block))
  local = block[0] // block[2]
  batches = batches.batch(local, drop_remainder=True, batch_fn=collate_fn)
  options = grain.ReadOptions(num_threads=num_threads)
  return iter(batches.to_iter_dataset(options))


def padded_batches(
    source: Sequence[Any],
    *,
    batch_size: int,
    collate_fn: Callable[[Sequence[Any]], Any] = collate,
) -> Iterator[tuple[Any, np.ndarray]]:
  """Every row once, in order, in batches of one shape: for evaluation.

  Yields:
    A batch and its Bool `[batch_size]` mask. The last batch repeats its last
    row; the mask is False there.
  """
  checks.at_least("padded_batches", 1, batch_size=batch_size)
  for start in range(0, len(source), batch_size):
    ids = np.arange(start, start + batch_size)
    rows = [source[int(i)] for i in np.minimum(ids, len(source) - 1)]
    yield collate_fn(rows), ids < len(source)
