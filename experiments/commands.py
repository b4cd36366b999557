"""What the commands share: flags whose mistakes are one line, no traceback."""

import importlib
import os
import runpy
import sys
from collections.abc import Callable

import jax
from absl import app

_ALLOCATOR = "GLIBC_TUNABLES"
# One heap, never trimmed, and no block outside of it.
_KEEP = (
    "glibc.malloc.arena_max=1:glibc.malloc.mmap_max=0:"
    "glibc.malloc.trim_threshold=1000000000000"
)


def function_at(path: str, expected: str) -> Callable:
  """The function at `package.module:function`.

  Raises:
    ValueError: if there is none; begins with what was `expected`.
  """
  module, _, name = path.partition(":")
  try:
    return getattr(importlib.import_module(module), name)
  except (ImportError, AttributeError, ValueError) as error:
    raise ValueError(f"{expected}, got {path!r}: {error}.") from error


def keep_freed_memory() -> None:
  """Starts the command anew, under a C library that keeps what is freed.

  A compiled program on the CPU allocates its temporaries at every call. By
  default large blocks come straight from the kernel, which clears every page
  when it is first touched: 80,000 pages, a quarter of all processor time, in
  an update of a model of 0.9 million parameters. The C library reads this
  setting only when a process begins. A user's own GLIBC_TUNABLES are left
  alone; other C libraries do not read them.
  """
  if sys.platform.startswith("linux") and _ALLOCATOR not in os.environ:
    environment = os.environ | {_ALLOCATOR: _KEEP}
    os.execve(sys.executable, sys.orig_argv, environment)


def use_cpu_devices(count: int) -> None:
  """Splits the CPU into as many devices as a mesh asks for.

  Without effect once jax has run, where XLA_FLAGS says how many, and on
  accelerators.
  """
  if count > 1 and "device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", count)


def parse_flags(argv: list[str]) -> list[str]:
  """For `app.run(main, flags_parser=parse_flags)`.

  A config field that does not exist ends the command with one line that
  names it and the fields that there are.
  """
  try:
    return app.parse_flags_with_usage(argv)
  except (AttributeError, KeyError, TypeError) as error:
    sys.exit(f"error: {_unknown_field(argv) or error}")


def _unknown_field(argv: list[str]) -> str | None:
  """The first `--config.a.b=...` that the config file does not have."""
  files = [x.split("=", 1)[1] for x in argv if x.startswith("--config=")]
  if not files:
    return None
  config = runpy.run_path(files[-1].split(":")[0])["get_config"]()
  for argument in argv:
    if argument.startswith("--config."):
      node, names = config, argument.split("=")[0].split(".")[1:]
      for i, name in enumerate(names):
        if not hasattr(node, "keys") or name not in node:
          where = ".".join(["config", *names[: i + 1]])
          known = sorted(node) if hasattr(node, "keys") else "none"
          return f"{where} is no field; choose from {', '.join(known)}."
        node = node[name]
  return None
