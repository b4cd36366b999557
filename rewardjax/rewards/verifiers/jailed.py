"""Runs one untrusted program; the other end of `sandbox.run`.

A program for a bare interpreter: `python -sSPB jailed.py jail.py`. It reads a
task from standard input, gives up all rights, writes one line that says so,
and only then touches the program.
"""

import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any

# Where Python and the C library look for shared libraries and time zones.
_SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/etc/ld.so.cache",
    "/usr/share/zoneinfo",
)


def main(lock: Callable[..., None]) -> None:
  """Reads the task, locks the process in, and runs the program."""
  task = json.loads(sys.stdin.buffer.read())
  sys.path += task["readable"]
  refusal = _give_up_rights(task, lock)
  report = {"refused": refusal, "weak": refusal if task["weak"] else None}
  if refusal and task["weak"]:
    report["refused"] = None
  os.write(1, (json.dumps(report) + "\n").encode())
  if report["refused"]:
    return
  if task["function"] is None:
    _redirect_stdin(task["input"])
  if refusal:
    sys.addaudithook(_forbid)
  if task["function"] is None:
    _run_script(task["source"])
  else:
    _run_function(task["source"], task["function"], task["arguments"])


def _give_up_rights(
    task: dict[str, Any], lock: Callable[..., None]
) -> str | None:
  """Sets all limits; returns what could not be had, if anything."""
  import resource

  _die_with(task["parent"])
  for name, value in task["limits"].items():
    # The soft limit sends a signal that a program may ignore.
    soft, hard = value, value + (name == "RLIMIT_CPU")
    try:
      resource.setrlimit(getattr(resource, name), (soft, hard))
    except (OSError, ValueError) as error:  # macOS has no limit on memory
      if not task["weak"]:
        return f"{name}: {error}"
  library = [path for path in sys.path if path]
  library.append(os.path.join(sys.base_prefix, "lib"))
  try:
    lock(writable=os.getcwd(), readable=[*library, *_SYSTEM])
  except RuntimeError as error:
    return str(error)


def _die_with(parent: int) -> None:
  """Asks for a signal when the parent ends, which only Linux can send."""
  if sys.platform == "linux":
    import ctypes

    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
    if os.getppid() != parent:
      os._exit(1)


def _run_script(source: str) -> None:
  exec(compile(source, "<answer>", "exec"), {"__name__": "__main__"})


def _redirect_stdin(text: str) -> None:
  """Makes a text the standard input."""
  path = os.path.join(os.getcwd(), ".input")
  with open(path, "wb") as file:
    file.write(text.encode("utf-8", "surrogatepass"))
  descriptor = os.open(path, os.O_RDONLY)
  os.unlink(path)
  os.dup2(descriptor, 0)
  os.close(descriptor)
  sys.stdin = io.TextIOWrapper(open(0, "rb", closefd=False), "utf-8")


def _run_function(source: str, name: str, arguments: list[list[Any]]) -> None:
  """Writes one line of JSON per call, {"value": ...} or {"error": ...}."""
  results = os.dup(1)
  nothing = os.open(os.devnull, os.O_RDWR)
  for descriptor in (0, 1):
    os.dup2(nothing, descriptor)
  say = lambda x: _write(results, (json.dumps(x) + "\n").encode())
  try:
    space = {"__name__": "answer"}
    exec(compile(source, "<answer>", "exec"), space)
    for values in arguments:
      say({"value": space[name](*values)})
  except BaseException as error:
    say({"error": f"{type(error).__name__}: {error}"[:200]})
  os._exit(0)  # without waiting for threads


def _write(descriptor: int, data: bytes) -> None:
  while data:
    data = data[os.write(descriptor, data) :]


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
  """Stops accidents where no jail is to be had; it stops no attack."""
  if event == "open":
    path, mode, flags = arguments
    writes = isinstance(mode, str) and set(mode) & set("wax+")
    if not writes and not (flags or 0) & (os.O_WRONLY | os.O_RDWR):
      return
    inside = os.path.realpath(os.fsdecode(path)) if path else ""
    here = os.path.realpath(os.getcwd()) + os.sep
    if inside == os.devnull or inside.startswith(here):
      return
  elif not event.startswith((
      "socket.", "subprocess.", "shutil.", "ctypes.", "os.exec", "os.fork",
      "os.posix_spawn", "os.system", "os.kill", "os.remove", "os.rename",
      "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate",
      "os.chmod", "os.chown", "os.utime", "os.chdir",
  )):  # fmt: skip
    return
  raise PermissionError(f"{event} is forbidden")


if __name__ == "__main__":
  import runpy

  main(runpy.run_path(sys.argv[1])["lock"])
