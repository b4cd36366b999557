"""Starting jax on several processes, from flags or the environment."""

import os
from collections.abc import Mapping

import jax

# Flag, and the environment variable that stands in for it.
VARIABLES = {
    "coordinator": "JAX_COORDINATOR_ADDRESS",
    "num_processes": "JAX_NUM_PROCESSES",
    "process_id": "JAX_PROCESS_ID",
}


def settings(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
) -> dict[str, str | int] | None:
  """What `initialize` will use: flags first, then the environment.

  Returns:
    coordinator, num_processes and process_id; None for a single process.

  Raises:
    ValueError: naming what is missing, is not a number or is out of range.
  """
  given = dict(
      coordinator=coordinator,
      num_processes=num_processes,
      process_id=process_id,
  )
  for name, variable in VARIABLES.items():
    if given[name] is None and environment.get(variable):
      given[name] = environment[variable]
  for name in ("num_processes", "process_id"):
    given[name] = _integer(name, given[name])
  if given["num_processes"] == 1 or all(v is None for v in given.values()):
    return None
  missing = [f"{k} ({VARIABLES[k]})" for k, v in given.items() if v is None]
  if missing:
    raise ValueError(f"initialize: missing {', '.join(missing)}.")
  count, index = given["num_processes"], given["process_id"]
  if count < 1 or not 0 <= index < count:
    raise ValueError(
        "initialize: process_id must be in [0, num_processes), got "
        f"process_id={index}, num_processes={count}."
    )
  return given


def _integer(name, value):
  try:
    return None if value is None else int(value)
  except ValueError:
    raise ValueError(
        f"initialize: {name} must be an integer, got {value!r}."
    ) from None


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> int:
  """Joins the other processes; call it before anything uses a device.

  Does nothing for one process. On CPUs, choose collectives that cross
  processes: JAX_CPU_COLLECTIVES_IMPLEMENTATION=gloo.

  Args:
    coordinator: host:port of process 0, the same on every process.
    num_processes: how many there are.
    process_id: which one this is, from 0.
      Each falls back on the environment: see `VARIABLES`.

  Returns:
    This process's number.

  Raises:
    ValueError: see `settings`.
  """
  found = settings(coordinator, num_processes, process_id)
  if found is None:
    return 0
  jax.distributed.initialize(
      coordinator_address=found["coordinator"],
      num_processes=found["num_processes"],
      process_id=found["process_id"],
  )
  return found["process_id"]
