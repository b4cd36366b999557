"""Memory of scoring a file that is larger than what a process may have.

Run: python -m benchmarks.scoring_memory --megabytes=2000

Writes rows of RewardBench's schema, scores them by
`experiments.evaluate_rewards` in a process of its own, and prints by how much
that process grew. Rows are long, so that what grows with their number, the
scores, is small beside the texts.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

FORMATS = ("jsonl", "json", "parquet")
_MEGABYTE = 1e6
_PROGRAM = """
import pathlib, resource, sys
from experiments import evaluate_rewards
from experiments.evaluate_options import Options
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def score(data):
  options = Options(
      benchmark="rewardbench", data=(data,), batch_size=8,
      scorer="experiments.baseline_scorers:length",
  )
  with __import__("tempfile").TemporaryDirectory() as folder:
    evaluate_rewards.evaluate(options, pathlib.Path(folder), show=False)
small, large = sys.argv[1:]
score(small)  # imports, compiled tables and figures
before = peak()
score(large)
print(peak() - before)
"""


def make_rows(megabytes: float, *, row_kilobytes: int = 200):
  """Rows of two long texts each, until there are so many megabytes."""
  letters = np.frombuffer(b"abcdefghijklmnop", np.uint8)
  draw = np.random.default_rng(0)
  size = row_kilobytes * 500
  text = lambda: letters[draw.integers(0, 16, size)].tobytes().decode()
  for i in range(max(2, int(megabytes * _MEGABYTE / (2 * size)))):
    yield dict(
        id=i, prompt="?", chosen=text(), rejected=text(), subset="refusals"
    )


def write(path: pathlib.Path, rows) -> None:
  """A file of rows, one after the other, in the format its name says."""
  if path.suffix == ".parquet":
    import pyarrow
    import pyarrow.parquet

    first = next(rows)
    table = lambda row: pyarrow.Table.from_pylist([row])
    schema = table(first).schema
    with pyarrow.parquet.ParquetWriter(path, schema) as file:
      file.write_table(table(first))
      for row in rows:
        file.write_table(table(row))
    return
  start, between, end = ("[\n", ",\n", "\n]\n")
  if path.suffix == ".jsonl":
    start, between, end = "", "\n", "\n"
  with open(path, "w") as file:
    for i, row in enumerate(rows):
      file.write((between if i else start) + json.dumps(row))
    file.write(end)


def growth(format_name: str, megabytes: float) -> tuple[float, float]:
  """Megabytes of the file, and by how much the process that scores it grew."""
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    small, large = (
        folder / f"{name}.{format_name}" for name in ("small", "large")
    )
    write(small, make_rows(1))
    write(large, make_rows(megabytes))
    size = large.stat().st_size
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(small), str(large)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
  kilobytes = int(done.stdout.split()[-1])
  return size / _MEGABYTE, kilobytes * 1024 / _MEGABYTE


def main(argv: list[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--megabytes", type=float, default=500)
  megabytes = parser.parse_args(argv).megabytes
  print("| file | size, MB | process grew by, MB |")
  print("|---|---|---|")
  for name in FORMATS:
    size, grown = growth(name, megabytes)
    print(f"| .{name} | {size:.0f} | {grown:.0f} |", flush=True)


if __name__ == "__main__":
  main()
