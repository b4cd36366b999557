"""What importing costs, in fresh processes, on top of jax and flax.

Run: python -m benchmarks.import_time
"""

import argparse
import statistics
import subprocess
import sys

BUDGET_MS = 50.0  # of `import rewardjax`
ROOMS = (
    "advantages",
    "core",
    "data",
    "diagnostics",
    "diffusion",
    "environments",
    "models",
    "noise",
    "objectives",
    "policies",
    "recipes",
    "reward_models",
    "rewards",
    "search",
    "shaping",
    "training",
)
_PROGRAM = """
import time
import jax, flax
start = time.perf_counter()
import {module}
print(1e3 * (time.perf_counter() - start))
"""


def milliseconds(module: str) -> float:
  """Time to import `module` once jax and flax are there, in a new process."""
  program = [sys.executable, "-c", _PROGRAM.format(module=module)]
  done = subprocess.run(program, capture_output=True, text=True, check=True)
  return float(done.stdout)


def median_milliseconds(module: str, *, repeats: int = 5) -> float:
  """Median over fresh processes."""
  return statistics.median(milliseconds(module) for _ in range(repeats))


def main(argv: list[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--repeats", type=int, default=5)
  repeats = parser.parse_args(argv).repeats
  rooms = [f"rewardjax.{room}" for room in ROOMS]
  print("| import, after jax and flax | median ms | budget ms |")
  print("|---|---|---|")
  for module in ("rewardjax", *rooms):
    budget = f"{BUDGET_MS:g}" if module == "rewardjax" else ""
    time_ms = median_milliseconds(module, repeats=repeats)
    print(f"| {module} | {time_ms:.1f} | {budget} |", flush=True)


if __name__ == "__main__":
  main()
