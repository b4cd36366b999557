"""The outer loop: chunks of compiled steps, logs, checkpoints, resuming.

    step = make_train_step(loss_fn, optimizer)
    one = lambda state, batch: step(state, batch, key)
    chunk = compile_chunk(make_chunk(one), state)
    result = run_loop(
        chunk, state, batches, num_steps=1000, chunk=10,
        checkpointer=Checkpointer(run_dir / "checkpoints"), every=100,
        writer=MetricsWriter(run_dir), stop=stop,
    )

Killed at any moment and started again with the same arguments, it ends with
the same state and the same bytes in metrics.jsonl.
"""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from rewardjax.core import checks
from rewardjax.training import mesh
from rewardjax.training.checkpoints import Checkpointer
from rewardjax.training.logging import MetricsWriter

# (state, batches with a leading chunk axis, or None) -> (state, metrics)
ChunkStep = Callable[[PyTree, Any], tuple[PyTree, dict[str, Array]]]


@runtime_checkable
class Batches(Protocol):
  """An iterator that can say where it is and go back there (as grain's)."""

  def __next__(self) -> PyTree: ...

  def get_state(self) -> Any:
    """The position, as something JSON can hold (or bytes)."""

  def set_state(self, state: Any) -> None:
    """Goes back to a position."""


class LoopResult(NamedTuple):
  """How a loop ended."""

  state: PyTree
  metrics: dict[str, Any]  # the last row logged
  step: int
  stopped: bool  # by the flag, before num_steps
  retraces: int  # programs compiled by steps after the first chunk


def reduce_chunk(metrics: dict[str, Array]) -> dict[str, Array]:
  """One value from C steps `[C, ...]`: counts are added, floats averaged."""
  is_count = lambda x: jnp.issubdtype(x.dtype, jnp.integer)
  reduce = lambda x: jnp.sum(x, 0) if is_count(x) else jnp.mean(x, 0)
  return {name: reduce(x) for name, x in metrics.items()}


def make_chunk(
    step: ChunkStep,
    *,
    length: int | None = None,
    reduce: Callable[[dict], dict] = reduce_chunk,
) -> ChunkStep:
  """Scans `step(state, batch) -> (state, metrics)` over a chunk; compile it.

  Args:
    step: pure; `batch` is None where `length` is given.
    length: steps of a chunk for a step that reads no data (static).
    reduce: from metrics stacked over the chunk to those of its row.
  """

  def chunk(state, batches):
    state, metrics = jax.lax.scan(step, state, batches, length=length)
    return state, reduce(metrics)

  return chunk


def compile_chunk(
    chunk: Callable[..., tuple[PyTree, dict[str, Array]]],
    state: PyTree,
    *fixed: PyTree,
    donate: bool = True,
) -> ChunkStep:
  """Compiles a chunk whose new state lies on devices as `state` does.

  Left to itself the compiler may place results of a mesh otherwise than
  their inputs: the second call then compiles again. Models inside know the
  mesh of the state (`mesh.within`).

  Args:
    chunk: from `make_chunk`.
    state: the first state, already placed; it is not read.
    *fixed: what `chunk` takes after the batches, the same at every call:
      frozen parameters, which a closure would make constants of the program.
    donate: the memory of a state is used for the next one.
  """

  def place(x):
    # Where nothing was chosen, nothing is asked for.
    is_placed = isinstance(x, jax.Array) and x.committed
    return x.sharding if is_placed else None

  found = [x.sharding for x in jax.tree.leaves(state) if place(x)]
  found = [s for s in found if isinstance(s, jax.sharding.NamedSharding)]
  if found:
    chunk = mesh.within(found[0].mesh, chunk)
  compiled = jax.jit(
      chunk,
      donate_argnums=(0,) if donate else (),
      out_shardings=(jax.tree.map(place, state), None),
  )
  if not fixed:
    return compiled
  return lambda state, batches: compiled(state, batches, *fixed)


_COMPILED = "/jax/core/compile/backend_compile_duration"


@contextlib.contextmanager
def count_compilations() -> Iterator[list[int]]:
  """Counts the programs that jax compiles inside: `[count]`, updated.

  What is only dispatched anew, to a program that exists, does not count.
  """
  count = [0]

  def listen(event, duration, **details):
    del duration, details
    count[0] += event == _COMPILED

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    yield count
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)


def agree(flag: bool) -> bool:
  """Whether the flag is set on any process; every process must call it."""
  if jax.process_count() == 1:
    return flag
  from jax.experimental import multihost_utils

  return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def _take(batches: Batches | None, chunk: int) -> PyTree:
  """The next `chunk` batches, stacked on the host."""
  if batches is None:
    return None
  try:
    taken = [next(batches) for _ in range(chunk)]
  except StopIteration:
    raise ValueError(
        "run_loop: batches ended before num_steps; repeat the data."
    ) from None
  return jax.tree.map(lambda *rows: np.stack(rows), *taken)


def _resume(state, batches, checkpointer):
  """State and step of the newest checkpoint; the data follow it."""
  restored = None if checkpointer is None else checkpointer.restore(state)
  step = 0
  if restored is not None:
    state, step = restored.tree, restored.step
    if batches is not None:
      batches.set_state(restored.extra["data"])
  return state, step


def _last_row(writer, step):
  """Drops what was logged after `step`; returns the row before, if any."""
  writer.truncate(step)
  rows = writer.rows()
  return rows[-1] if rows else {}


def _check_sizes(start, num_steps, chunk, every):
  checks.at_least("run_loop", 1, num_steps=num_steps, chunk=chunk)
  if every is not None and (every < 1 or every % chunk):
    raise ValueError(
        f"run_loop: every={every} must be a multiple of chunk={chunk}."
    )
  if start > num_steps:
    raise ValueError(
        f"run_loop: the checkpoint is at step {start}, past "
        f"num_steps={num_steps}."
    )
  if (num_steps - start) % chunk:
    raise ValueError(
        f"run_loop: the {num_steps - start} steps from {start} to "
        f"num_steps={num_steps} must be a multiple of chunk={chunk}."
    )


def _progress_bar(label, start, num_steps, show):
  import tqdm

  show = show and jax.process_index() == 0
  return tqdm.tqdm(
      desc=label, initial=start, total=num_steps, disable=not show, unit="step"
  )


def _postfix(metrics: dict[str, Any]) -> dict[str, str]:
  """Up to three scalars for the progress bar, the loss first."""
  names = sorted(metrics, key=lambda name: name != "loss")
  return {name: f"{np.mean(metrics[name]):.4g}" for name in names[:3]}


def run_loop(
    step_chunk: ChunkStep,
    state: PyTree,
    batches: Batches | None = None,
    *,
    num_steps: int,
    chunk: int,
    checkpointer: Checkpointer | None = None,
    every: int | None = None,
    writer: MetricsWriter | None = None,
    label: str = "train",
    stop: Callable[[], bool] = lambda: False,
    until: Callable[[dict[str, Any]], bool] = lambda metrics: False,
    place: Callable[[PyTree], PyTree] = lambda batches: batches,
    progress: bool = True,
) -> LoopResult:
  """Runs from the newest checkpoint, or from `state`, to `num_steps`.

  Each chunk: dispatch, fetch the next data while the device works, one
  transfer of the metrics, one row, and where due a checkpoint.

  Args:
    step_chunk: compiled `(state, batches) -> (state, metrics)` over `chunk`
      steps (`compile_chunk`); it may donate its state.
    state: what is trained and saved, keys included; also says onto which
      devices a checkpoint is restored.
    batches: yields one batch a step; `chunk` of them are stacked along a new
      leading axis. None if `step_chunk` makes its own data.
    num_steps: where to end, counted from the first start.
    chunk: steps between rows of the log.
    checkpointer: None neither saves nor resumes.
    every: steps between checkpoints; None saves only at the end.
    writer: where rows go; rows after the restored step are removed first.
    label: the name on the progress bar.
    stop: read after every chunk; see `preemption.StopFlag`.
    until: of a row of metrics, whether the loop has reached its end there: a
      function of the row alone, so that a resumed loop ends where it would
      have; it needs the `writer` to know the row before.
    place: puts stacked batches on devices (`mesh.shard_batch`, leading=1).
    progress: False hides the bar.

  Raises:
    ValueError: if `every`, or the steps that are left, are no multiple of
      `chunk`, if the checkpoint is past `num_steps`, or if `batches` end.
  """
  state, start = _resume(state, batches, checkpointer)
  _check_sizes(start, num_steps, chunk, every)
  metrics = {} if writer is None else _last_row(writer, start)
  step, saved, stopped, retraces = start, start, False, 0
  ended = step >= num_steps or (bool(metrics) and until(metrics))
  bar = _progress_bar(label, start, num_steps, progress)
  fetch = lambda: place(_take(batches, chunk))
  data = None if ended else fetch()
  with bar:
    while not (ended or stopped):
      began = time.perf_counter()
      with count_compilations() as compiled:
        state, metrics = step_chunk(state, data)
      retraces += compiled[0] if step > start else 0
      step += chunk
      # Where the data stands now; what follows is read ahead.
      cursor = None if batches is None else batches.get_state()
      data = fetch() if step < num_steps else None
      metrics = jax.device_get(metrics)  # the only transfer, and it waits
      seconds = time.perf_counter() - began
      if writer is not None:
        writer.write(step, metrics)
        writer.write_timings(step, {"steps_per_second": chunk / seconds})
      bar.set_postfix(_postfix(metrics), refresh=False)
      bar.update(chunk)
      ended = step == num_steps or until(metrics)
      stopped = agree(stop()) and not ended
      due = ended or stopped or (every and step % every == 0)
      if checkpointer is not None and due:
        checkpointer.save(step, state, {"data": cursor})
        saved = step
    if checkpointer is not None:
      checkpointer.wait()
  _report(label, step, stopped, saved, checkpointer, retraces)
  return LoopResult(state, metrics, step, stopped, retraces)


def _report(label, step, stopped, saved, checkpointer, retraces):
  if retraces:
    warnings.warn(
        f"{label}: compiled {retraces} more times after the first chunk; "
        "shapes, dtypes or shardings of the state or the data change.",
        stacklevel=3,
    )
  if stopped and jax.process_index() == 0:
    kept = "nothing was saved"
    if checkpointer is not None:
      kept = (
          f"step {saved} is in {checkpointer.path(saved)}; run the same "
          "command again to resume"
      )
    print(f"{label}: stopped at step {step}: {kept}.", flush=True)
