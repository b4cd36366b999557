"""The other end of a pool's pipe; runs as a process of its own.

Reads pickled tasks from its standard input and writes pickled replies to
its standard output, each after its length in eight bytes.
"""

import contextlib
import os
import pickle
import signal
import struct
import sys
import threading
import time
from typing import Any, BinaryIO, NamedTuple

from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import jail, scores


class Setup(NamedTuple):
  """What a worker must know; see `pool.VerifierPool`."""

  verifier: bytes  # pickled
  correct_above: float | int
  memory_mb: int | None
  jailed: bool


def send(stream: BinaryIO, data: bytes) -> None:
  """Writes one message."""
  stream.write(struct.pack("<Q", len(data)) + data)
  stream.flush()


def receive(stream: BinaryIO) -> bytes:
  """Reads one message; EOFError if the other end went away before its end."""
  size = struct.unpack("<Q", _exactly(stream, 8))[0]
  return _exactly(stream, size)


def _exactly(stream: BinaryIO, size: int) -> bytes:
  data = stream.read(size)
  if len(data) < size:
    raise EOFError("the other process ended")
  return data


def describe(error: BaseException) -> str:
  """One short line about an exception."""
  return f"{type(error).__name__}: {error}"[:200]


def serve() -> None:
  """Answers tasks until the pipe closes.

  The first message is a `Setup`; its reply is None, or what went wrong. A
  task is (prompts, completions, references); its reply is a list of verdicts.
  """
  stdin, stdout = _take_pipes()
  setup = pickle.loads(receive(stdin))
  watch = threading.Thread(
      target=_die_with_parent, args=(os.getppid(),), daemon=True
  )
  # A jail holds the threads that are started in it.
  if not setup.jailed:
    watch.start()
  try:
    verifier = pickle.loads(setup.verifier)
    _warm_up(verifier)
    if setup.memory_mb is not None:
      _limit_memory(setup.memory_mb)
    if setup.jailed:
      jail.lock()
      watch.start()
  except Exception as error:
    send(stdout, pickle.dumps(describe(error)))
    return
  send(stdout, pickle.dumps(None))
  while True:
    try:
      task = receive(stdin)
    except EOFError:
      return
    send(stdout, pickle.dumps(_judge(verifier, setup.correct_above, task)))


def _warm_up(verifier: Any) -> None:
  """What a verifier imports when it is called must not cost its first answer.

  A rule for no completions at all is nobody's duty: it may raise.
  """
  with contextlib.suppress(Exception, SystemExit):
    verifier([], [], [])


def _limit_memory(memory_mb: int) -> None:
  """Bounds what this process may take from now on."""
  import resource

  with open("/proc/self/statm") as file:
    taken = int(file.read().split()[0]) * resource.getpagesize()
  limit = taken + (memory_mb << 20)
  resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _judge(
    verifier: Any, correct_above: float | int, task: bytes
) -> list[Verdict]:
  prompts, completions, references = pickle.loads(task)
  count = len(completions)
  try:
    found = verifier(prompts, completions, references)
    return scores.from_scores(
        found, count=count, correct_above=correct_above
    )
  except (Exception, SystemExit) as error:
    return [Verdict(None, Status.CRASHED, describe(error))] * count


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
  """Keeps the pipe for us: what a verifier prints goes to standard error."""
  stdin, stdout = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
  nothing = os.open(os.devnull, os.O_RDONLY)
  os.dup2(nothing, 0)
  os.dup2(2, 1)
  sys.stdout = sys.stderr
  return stdin, stdout


def _die_with_parent(parent: int) -> None:
  """A verifier that hangs would otherwise outlive a killed trainer."""
  while os.getppid() == parent:
    time.sleep(1.0)
  if hasattr(os, "killpg"):
    with contextlib.suppress(PermissionError):  # in a jail, where it is alone
      os.killpg(os.getpgid(0), signal.SIGKILL)
  os._exit(1)
