"""XLA's flags for the processes that a test starts."""

import os


def one_device_flags() -> str:
  """Those of this process, without its eight devices."""
  flags = os.environ["XLA_FLAGS"].split()
  return " ".join(x for x in flags if "device_count" not in x)
