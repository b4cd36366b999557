"""What a run writes down: config.json, metrics.jsonl, timings, TensorBoard.

`metrics.jsonl` is deterministic: a run that was killed and resumed ends with
the bytes of one that was not. Clock times go to `timings.jsonl`.
"""

import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def write_atomically(path: str | os.PathLike, text: str) -> pathlib.Path:
  """Writes a whole file or nothing; readers never see half of it."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
  with open(partial, "w", encoding="utf-8") as file:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())
  os.replace(partial, path)
  return path


def jsonable(x: Any) -> Any:
  """Arrays as lists, numbers at their own precision, NaN and inf as words.

  JSON has no NaN: "NaN", "Infinity" and "-Infinity" are what `float` reads.
  """
  if isinstance(x, Mapping):
    return {str(k): jsonable(v) for k, v in x.items()}
  if isinstance(x, (list, tuple)):
    return [jsonable(v) for v in x]
  if isinstance(x, (str, bool, int)) or x is None:
    return x
  if isinstance(x, float):
    names = {math.inf: "Infinity", -math.inf: "-Infinity"}
    return "NaN" if math.isnan(x) else names.get(x, x)
  if isinstance(x, os.PathLike):
    return os.fspath(x)
  x = np.asarray(x)
  if x.ndim:
    return [jsonable(v) for v in x]
  if x.dtype.kind in "biu":
    return x.item()
  # The shortest digits of a float32, not those of its float64 neighbour.
  return jsonable(float(str(x[()])))


def _parse(line: bytes) -> dict[str, Any] | None:
  """A complete row, or None for a line that a kill cut short."""
  if not line.endswith(b"\n"):
    return None
  try:
    row = json.loads(line)
  except ValueError:
    return None
  return row if isinstance(row, dict) and "step" in row else None


def _numbers(x: Any) -> Any:
  if isinstance(x, list):
    return [_numbers(v) for v in x]
  return float(x) if x in ("NaN", "Infinity", "-Infinity") else x


def read_rows(
    path: str | os.PathLike, *, stage: str | None = None
) -> list[dict[str, Any]]:
  """The complete rows of a metrics file, of one stage if named.

  NaN and infinities are numbers again; a half-written line is left out.
  """
  path = pathlib.Path(path)
  lines = path.read_bytes().splitlines(True) if path.exists() else []
  rows = [row for row in map(_parse, lines) if row is not None]
  rows = [r for r in rows if stage is None or r.get("stage") == stage]
  return [{k: _numbers(v) for k, v in row.items()} for row in rows]


class MetricsWriter:
  """Appends the metrics of one stage of a run, one line a step.

  Args:
    run_dir: made if missing.
    stage: names this loop where a run has several; each row then says so.
    tensorboard: also writes TensorBoard events, if tensorboardX is there.

  Only the first of several processes writes.
  """

  def __init__(
      self,
      run_dir: str | os.PathLike,
      *,
      stage: str | None = None,
      tensorboard: bool = True,
  ):
    self.run_dir = pathlib.Path(run_dir)
    self.run_dir.mkdir(parents=True, exist_ok=True)
    self.path = self.run_dir / "metrics.jsonl"
    self._timings = self.run_dir / "timings.jsonl"
    self._stage = stage
    self._writes = jax.process_index() == 0
    self._wants_events = tensorboard and self._writes
    self._events = None
    self._purge_from = None

  def write_config(self, config: Mapping[str, Any]) -> None:
    """Writes config.json; `config` is a mapping (ConfigDict: `.to_dict()`)."""
    if self._writes:
      text = json.dumps(jsonable(config), indent=2) + "\n"
      write_atomically(self.run_dir / "config.json", text)

  def write(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Appends a row of numbers or arrays, and flushes it."""
    self._append(self.path, step, metrics)
    self._to_events(step, metrics)

  def write_timings(self, step: int, timings: Mapping[str, Any]) -> None:
    """Appends a row of clock times, apart from what must be deterministic."""
    self._append(self._timings, step, timings)
    self._to_events(step, {f"timings/{k}": v for k, v in timings.items()})

  def rows(self) -> list[dict[str, Any]]:
    """What was written for this stage, as `read_rows` reads it."""
    return read_rows(self.path, stage=self._stage)

  def truncate(self, step: int) -> None:
    """Drops this stage's rows after `step`, and a half-written line.

    Kept rows keep their bytes; rows of other stages stay.
    """
    self._purge_from = step + 1
    if not self._writes:
      return
    for path in (self.path, self._timings):
      if path.exists():
        lines = path.read_bytes().splitlines(True)
        kept = b"".join(line for line in lines if self._keeps(line, step))
        write_atomically(path, kept.decode("utf-8"))

  def close(self) -> None:
    """Closes the TensorBoard file, if there is one."""
    if self._events is not None:
      self._events.close()

  def _keeps(self, line: bytes, step: int) -> bool:
    row = _parse(line)
    if row is None:
      return False
    return row.get("stage") != self._stage or row["step"] <= step

  def _append(self, path, step, values):
    if not self._writes:
      return
    head = {"step": int(step)}
    if self._stage is not None:
      head = {"stage": self._stage, **head}
    line = json.dumps(head | jsonable(values), allow_nan=False) + "\n"
    # One write of one whole line: a kill leaves at most one half line.
    with open(path, "ab") as file:
      file.write(line.encode("utf-8"))

  def _to_events(self, step, values):
    if not self._wants_events:
      return
    if self._events is None:
      self._events = _open_events(self.run_dir, self._stage, self._purge_from)
      self._wants_events = self._events is not None
    if self._events is not None:
      for name, value in values.items():
        self._events.add_scalar(name, float(np.mean(value)), step)
      self._events.flush()


def _open_events(run_dir, stage, purge_step):
  """A tensorboardX writer, or None where it is not installed."""
  try:
    import tensorboardX
  except ImportError:
    return None
  folder = run_dir / "tensorboard" / (stage or "")
  return tensorboardX.SummaryWriter(str(folder), purge_step=purge_step)
