"""Endless batches with as many rows of each kind, for curricula.

Which kinds are learned from next depends on what was learned so far; what the
loader delivers does not. So it delivers a candidate of every kind for every
place of a batch, and the program chooses: the position in the data stays one
number a kind, whatever was chosen.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rewardjax.core import checks
from rewardjax.data import loader


class _Rows(Sequence):
  """Some rows of a random-access source, as one."""

  def __init__(self, source: Sequence[Any], ids: np.ndarray):
    self._source, self._ids = source, ids

  def __len__(self) -> int:
    return len(self._ids)

  def __getitem__(self, i: int):
    return self._source[int(self._ids[i])]


class StratifiedLoader:
  """One endless shuffled order per kind; see `loader.Loader`.

  Rows come place by place: of each place first kind 0, then kind 1, ...
  """

  def __init__(
      self,
      source: Sequence[Any],
      kinds: Sequence[int],
      *,
      num_kinds: int,
      batch_size: int,
      seed: int,
      collate_fn: Callable[[Sequence[Any]], Any] = loader.collate,
  ):
    """Splits the source by kind.

    Args:
      source: random-access rows.
      kinds: of each row, 0 .. num_kinds - 1.
      num_kinds: K.
      batch_size: places of a batch, which has K times as many rows.
      seed: of all orders.
      collate_fn: from the rows of a batch, on the host.

    Raises:
      ValueError: if a kind has no row.
    """
    where = "StratifiedLoader"
    checks.at_least(where, 1, num_kinds=num_kinds, batch_size=batch_size)
    self._collate, kinds = collate_fn, np.asarray(kinds)
    self._loaders = []
    for kind in range(num_kinds):
      ids = np.flatnonzero(kinds == kind)
      if not ids.size:
        raise ValueError(f"{where}: kinds must all occur, {kind} does not.")
      self._loaders.append(
          loader.Loader(
              _Rows(source, ids),
              batch_size=batch_size,
              seed=seed * num_kinds + kind,
              collate_fn=list,
          )
      )

  def __iter__(self) -> "StratifiedLoader":
    return self

  def __next__(self) -> Any:
    columns = [next(rows) for rows in self._loaders]
    return self._collate([row for place in zip(*columns) for row in place])

  def get_state(self) -> dict[str, Any]:
    """What `set_state` needs, one position per kind."""
    return {"kinds": [rows.get_state() for rows in self._loaders]}

  def set_state(self, state: dict[str, Any]) -> None:
    """Continues after the batch at which `state` was taken.

    Raises:
      ValueError: if the state belongs to other kinds or another order.
    """
    found = state.get("kinds", ())
    if len(found) != len(self._loaders):
      raise ValueError(
          f"StratifiedLoader.set_state: kinds were {len(found)} when the state "
          f"was saved and are {len(self._loaders)} now."
      )
    for rows, position in zip(self._loaders, found):
      rows.set_state(position)
