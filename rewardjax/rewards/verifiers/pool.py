"""Runs a verifier in processes of its own, where it may hang or crash.

Threads would not do: nothing can stop a thread that hangs. A worker that
does not answer in time is killed, with all the processes it started, and
the next task starts another.
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from rewardjax.core import checks
from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import worker

# Not `-m`: the package imports the module, which would then exist twice.
_COMMAND = "from rewardjax.rewards.verifiers import worker; worker.serve()"


class VerifierPool:
  """A verifier that runs another one in workers; use it in a `with` block.

  An exception, a time-out, NaN, None, a list of the wrong length or a dead
  worker make verdicts without a score, with the reason as their detail;
  `verdicts.to_reward` decides what they are worth. The trainer never sees
  the exception.
  """

  def __init__(
      self,
      verifier: Callable[..., Sequence[Any]],
      *,
      timeout_s: float | int,
      num_workers: int = 1,
      chunk_size: int | None = 1,
      start_timeout_s: float | int = 120.0,
      correct_above: float | int = 0.0,
      memory_mb: int | None = None,
      jailed: bool = False,
  ):
    """Prepares a pool; workers start with the first batch.

    Args:
      verifier: `(prompts, completions, references)` to verdicts or scores.
        It must pickle; functions of a script or notebook do if cloudpickle
        is installed. It must not use the accelerator: workers see the CPU.
        A worker first calls it on an empty batch, so that what it imports
        there counts as starting.
      timeout_s: seconds that a chunk may take; starting does not count.
      num_workers: processes that share a batch.
      chunk_size: completions per call and time-out: 1 is per completion,
        None per batch. All of a chunk share its time-out or crash.
      start_timeout_s: seconds that a worker may take to import everything.
      correct_above: a higher score has the status "correct".
      memory_mb: MiB that a worker may take beyond what it has after its
        start (Linux); a completion that asks for more has crashed.
      jailed: workers give up the network, new processes, and every write to
        a file after their start (Linux; see `jail`). For verifiers that
        evaluate what a model wrote, as those of sympy and reasoning-gym do:
        they can still be made to lie, not to do harm.

    Raises:
      ValueError: if the verifier does not pickle, or a number is too small.
    """
    checks.within(
        "VerifierPool",
        0.0,
        low_open=True,
        timeout_s=timeout_s,
        start_timeout_s=start_timeout_s,
    )
    checks.at_least("VerifierPool", 1, num_workers=num_workers)
    # Checks pass over None.
    checks.at_least(
        "VerifierPool", 1, chunk_size=chunk_size, memory_mb=memory_mb
    )
    self._timeout_s = timeout_s
    self._chunk_size = chunk_size
    setup = worker.Setup(_pickle(verifier), correct_above, memory_mb, jailed)
    self._workers = [
        _Worker(setup, start_timeout_s) for _ in range(num_workers)
    ]

  def __call__(
      self,
      prompts: Sequence[str],
      completions: Sequence[str],
      references: Sequence[Any],
  ) -> list[Verdict]:
    """One verdict per completion, in order; one batch at a time.

    Raises:
      ValueError: if lengths differ.
      RuntimeError: if no worker has ever started: the verifier cannot be
        imported there, which is a mistake and no verdict.
    """
    count = len(completions)
    if not len(prompts) == count == len(references):
      raise ValueError(
          f"VerifierPool: expected one common length, got {len(prompts)} "
          f"prompts, {count} completions, {len(references)} references."
      )
    size = self._chunk_size or max(count, 1)
    tasks = queue.SimpleQueue()
    results: list[Verdict | None] = [None] * count
    for start in range(0, count, size):
      tasks.put(slice(start, min(start + size, count)))

    def work(worker_):
      while True:
        try:
          place = tasks.get_nowait()
        except queue.Empty:
          return
        chunk = [list(x[place]) for x in (prompts, completions, references)]
        results[place] = worker_.call(chunk, self._timeout_s)
        if not worker_.started:
          return

    busy = self._workers[: tasks.qsize()]
    threads = [threading.Thread(target=work, args=(x,)) for x in busy]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    if busy and not any(x.started for x in self._workers):
      reason = next(x.detail for x in results if x is not None)
      raise RuntimeError(f"VerifierPool: {reason}.")
    return results

  @property
  def restarts(self) -> int:
    """Workers started after the first ones, because one hung or died."""
    return sum(max(worker_.starts - 1, 0) for worker_ in self._workers)

  def close(self) -> None:
    """Ends all workers; a later batch starts new ones."""
    for worker_ in self._workers:
      worker_.kill()

  def __enter__(self) -> "VerifierPool":
    return self

  def __exit__(self, *unused) -> None:
    self.close()


class _Worker:
  """One process at a time, started when there is something to do."""

  def __init__(self, setup: worker.Setup, start_timeout_s: float | int):
    self._setup = pickle.dumps(setup)
    self._start_timeout_s = start_timeout_s
    self._process: subprocess.Popen | None = None
    self.starts = 0
    self.started = False  # whether it ever answered

  def call(self, task: list[Any], timeout_s: float | int) -> list[Verdict]:
    """One verdict per completion of the task, whatever happens."""
    fail = lambda status, why: [Verdict(None, status, why)] * len(task[1])
    try:
      pickled = pickle.dumps(task)
      failure = None if self._is_alive() else self._start()
    except Exception as error:
      return fail(Status.CRASHED, f"no worker: {worker.describe(error)}")
    if failure:
      self.kill()
      return fail(Status.CRASHED, f"no worker: {failure}")
    results, late = self._ask(pickled, timeout_s)
    if results is not None:
      return results
    if late:
      return fail(Status.TIMEOUT, f"no answer in {timeout_s:g} s")
    status = f"exit status {self._returncode}"
    return fail(Status.CRASHED, f"worker died, {status}")

  def _is_alive(self) -> bool:
    if self._process is not None and self._process.poll() is not None:
      self.kill()  # somebody else ended it between two tasks
    return self._process is not None

  def _start(self) -> str | None:
    """Starts a process; returns what went wrong, or None."""
    path = [entry or os.getcwd() for entry in sys.path]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "JAX_PLATFORMS": "cpu",
    }
    self.starts += 1
    self._process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # one group to kill, and no Ctrl-C for it
    )
    reply, late = self._ask(self._setup, self._start_timeout_s)
    if late:
      return f"not ready in {self._start_timeout_s:g} s"
    if self._process is None:
      return "it died"
    self.started = self.started or reply is None
    return reply

  def _ask(self, message: bytes, timeout_s: float | int) -> tuple[Any, bool]:
    """The reply, None if the process died; and whether it was too late."""
    process, late = self._process, threading.Event()

    def expire():
      late.set()
      _kill_group(process)

    timer = threading.Timer(timeout_s, expire)
    timer.start()
    try:
      worker.send(process.stdin, message)
      reply = pickle.loads(worker.receive(process.stdout))
      died = False
    except Exception:  # the pipe broke, or the reply makes no sense
      reply, died = None, True
    # Joined, so that it never kills a later process with the same number.
    timer.cancel()
    timer.join()
    if died and not late.is_set():
      with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)  # its own exit status says more than our kill
    if died or late.is_set():
      self.kill()
    return reply, died and late.is_set()

  def kill(self) -> None:
    """Ends the process and all that it started, and waits for its end."""
    process, self._process = self._process, None
    if process is None:
      return
    _kill_group(process)
    self._returncode = process.wait()
    for pipe in (process.stdin, process.stdout):
      # Broken by a message that nobody will read.
      with contextlib.suppress(BrokenPipeError):
        pipe.close()


def _kill_group(process: subprocess.Popen) -> None:
  with contextlib.suppress(ProcessLookupError):  # ended by itself
    if hasattr(os, "killpg"):
      os.killpg(process.pid, signal.SIGKILL)
    else:
      process.kill()


def _pickle(verifier: Callable[..., Any]) -> bytes:
  """Pickles; functions of a script or notebook by value."""
  try:
    import cloudpickle
  except ImportError:
    cloudpickle = None
  try:
    return (cloudpickle or pickle).dumps(verifier)
  except Exception as error:
    raise ValueError(
        "VerifierPool: verifier must pickle (a function of a module, or with "
        f"cloudpickle installed nearly any), got {verifier!r}: {error}."
    ) from error
