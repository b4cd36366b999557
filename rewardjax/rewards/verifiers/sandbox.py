"""Runs untrusted Python in a process that can harm nobody.

What holds on Linux 5.13 or later with Landlock and seccomp, on x86-64 and
arm64, whatever the program does, and without any privilege:

- **Files**: it writes only into an empty scratch folder, which is removed
  afterwards, and reads only that, Python's own library, the system's shared
  libraries and what the caller lists: no data set, no home directory.
- **Network**: it can open no socket.
- **Processes**: it can start none, and signal or inspect none. It gets an
  environment of its own and no open file. It ends with its parent.
- **Resources**: CPU seconds, wall seconds, address space, bytes of output,
  bytes on disk and open files are bounded by `Limits`.

What does not hold: it shares the kernel, so a bug in the kernel is a way
out; it can see the time, the machine's name, and how busy the machine is; of
the CPU it may use as many cores as it has threads, and the memory bound is
per process, so give `memory_mb` times the number of workers. For hostile
programs of real adversaries use a virtual machine around all this.

Elsewhere (macOS, old kernels, containers that forbid both) `run` refuses. With
`allow_weak_sandbox=True` it runs with the limits and an audit hook, which
stops accidents and no attack.
"""

import contextlib
import json
import math
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from rewardjax.core import checks

_PROGRAM = pathlib.Path(__file__).with_name("jailed.py")
_JAIL = pathlib.Path(__file__).with_name("jail.py")
# -s -S: no site-packages; -P: nothing from the script's own folder, whose
# `math.py` and `code.py` would shadow the library's; -B: writes no bytecode.
_FLAGS = "-sSPB"
_MAX_FILES = 1000


class Limits(NamedTuple):
  """What one program may use.

  cpu_s: whole seconds of CPU, over all its threads.
  wall_s: seconds from start to end, the interpreter's start included.
  memory_mb: MiB of address space, of which the interpreter takes about 20.
  output_kb: KiB that it may print.
  scratch_mb: MiB in its scratch folder.
  """

  cpu_s: int = 5
  wall_s: float | int = 20.0
  memory_mb: int = 512
  output_kb: int = 1024
  scratch_mb: int = 16


DEFAULT_LIMITS = Limits()


class Outcome(NamedTuple):
  """How a program ended, and what it wrote.

  output: bytes of standard output, or lines of JSON of a function's values.
  exceeded: the field of `Limits` that ended it, or None.
  status: its exit status, the negative number of a signal if one ended it.
  weak: why it ran without a jail; None if it was locked in.
  """

  output: bytes
  exceeded: str | None
  status: int
  weak: str | None


def run(
    source: str,
    *,
    stdin: str = "",
    function: str | None = None,
    arguments: Sequence[Sequence[Any]] = (),
    limits: Limits = DEFAULT_LIMITS,
    readable: Sequence[str] = (),
    allow_weak_sandbox: bool = False,
) -> Outcome:
  """Runs a program, or calls one of its functions; see the module.

  Args:
    source: Python source of the program.
    stdin: its standard input.
    function: name of a function to call, once per item of `arguments`; its
      values come as lines `{"value": ...}`, and the first exception as
      `{"error": ...}`, after which nothing follows. What is printed is lost.
    arguments: positional arguments of each call, as JSON knows them.
    limits: see `Limits`.
    readable: folders that the program may read and import from.
    allow_weak_sandbox: run where the machine cannot lock the program in.

  Raises:
    RuntimeError: if the machine cannot lock the program in, or its
      interpreter did not start; the program has not run.
    ValueError: if a limit is below 1.
  """
  checks.at_least("sandbox.run", 1, **limits._asdict())
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
    task = {
        "source": source,
        "input": stdin,
        "function": function,
        "arguments": [list(x) for x in arguments],
        "readable": [os.path.abspath(x) for x in readable],
        "weak": allow_weak_sandbox,
        "parent": os.getpid(),
        "limits": _resources(limits),
    }
    return _outcome(json.dumps(task).encode(), scratch, limits)


def _resources(limits: Limits) -> dict[str, int]:
  return {
      "RLIMIT_CPU": limits.cpu_s,
      "RLIMIT_AS": limits.memory_mb << 20,
      "RLIMIT_FSIZE": limits.scratch_mb << 20,
      "RLIMIT_NOFILE": 64,
      "RLIMIT_CORE": 0,
  }


def _outcome(task: bytes, scratch: str, limits: Limits) -> Outcome:
  process = subprocess.Popen(
      [sys.executable, _FLAGS, _PROGRAM, _JAIL],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      cwd=scratch,
      env={
          "HOME": scratch,
          "TMPDIR": scratch,
          "LC_ALL": "C.UTF-8",
          "PYTHONHASHSEED": "0",
          "PYTHONUTF8": "1",
      },
      start_new_session=True,
  )
  deadline = time.monotonic() + limits.wall_s
  usage = None
  try:
    with contextlib.suppress(BrokenPipeError):
      process.stdin.write(task)
      process.stdin.close()
    output, exceeded = _read(process, deadline, scratch, limits)
    if exceeded is None:
      usage = _wait(process, deadline)
  finally:
    with contextlib.suppress(ProcessLookupError, PermissionError):
      os.killpg(process.pid, signal.SIGKILL)
    if usage is None:
      late = _wait(process, math.inf)
    process.stdout.close()
  if usage is None:
    usage, exceeded = late, exceeded or "wall_s"
  cpu_s = usage.ru_utime + usage.ru_stime
  if process.returncode == -signal.SIGXCPU or cpu_s >= limits.cpu_s:
    exceeded = "cpu_s"
  line, _, output = output.partition(b"\n")
  report = _report(line, exceeded, process.returncode)
  return Outcome(output, exceeded, process.returncode, report["weak"])


def _read(
    process: subprocess.Popen, deadline: float, scratch: str, limits: Limits
) -> tuple[bytes, str | None]:
  """All that it writes, and the limit that it exceeds on the way."""
  chunks, size, stream = [], 0, process.stdout.fileno()
  exceeded = None
  while exceeded is None:
    if time.monotonic() > deadline:
      exceeded = "wall_s"
    elif _is_full(scratch, limits.scratch_mb):
      exceeded = "scratch_mb"
    elif select.select([stream], [], [], 0.05)[0]:
      chunk = os.read(stream, 1 << 16)
      if not chunk:
        break
      chunks.append(chunk)
      size += len(chunk)
      if size > limits.output_kb << 10:
        exceeded = "output_kb"
  return b"".join(chunks), exceeded


def _is_full(scratch: str, size_mb: int) -> bool:
  total = 0
  with os.scandir(scratch) as entries:
    for count, entry in enumerate(entries):
      with contextlib.suppress(FileNotFoundError):
        total += entry.stat(follow_symlinks=False).st_size
      if count >= _MAX_FILES or total > size_mb << 20:
        return True
  return False


def _wait(process: subprocess.Popen, deadline: float):
  """What the process has used once it ends; None if it is not in time.

  Like `Popen.wait`, which tells no usage.
  """
  while True:
    pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    if pid:
      process.returncode = os.waitstatus_to_exitcode(status)
      return usage
    if time.monotonic() > deadline:
      return None
    time.sleep(0.001)


def _report(line: bytes, exceeded: str | None, status: int) -> dict[str, Any]:
  """What `jailed` said before it touched the program."""
  try:
    report = json.loads(line)
  except ValueError:
    why = exceeded or f"exit status {status}"
    if exceeded == "wall_s":
      return {"weak": None}  # a busy machine: the time is over all the same
    raise RuntimeError(f"sandbox.run: no interpreter started: {why}.") from None
  if report["refused"]:
    raise RuntimeError(
        f"sandbox.run: {report['refused']}. allow_weak_sandbox=True runs "
        "programs without protection."
    )
  return report
