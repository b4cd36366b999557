"""Killed at random moments and started again: the same bytes, the same bits."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def start(workdir, folder):
  """The run as a process of its own; programs are compiled once for all."""
  environment = dict(
      os.environ,
      JAX_PLATFORMS="cpu",
      XLA_FLAGS="",
      JAX_COMPILATION_CACHE_DIR=str(folder / "programs"),
      JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
  )
  command = [sys.executable, "-m", "tests.experiments.rlvr_runs"]
  return subprocess.Popen(
      [*command, str(workdir), str(folder / "data")],
      cwd=ROOT,
      env=environment,
      stderr=subprocess.PIPE,
  )


def finish(process):
  _, errors = process.communicate(timeout=500)
  assert process.returncode == 0, errors.decode()[-3000:]


def final_files(workdir):
  """The newest checkpoint's fingerprints, and the metrics."""
  found = {}
  for stage in ("warm_up", "train"):
    newest = max((workdir / "checkpoints" / stage).iterdir())
    found[stage] = newest.name, (newest / "manifest/metadata").read_bytes()
  return found | {"metrics": (workdir / "metrics.jsonl").read_bytes()}


@pytest.mark.slow
def test_killed_three_times_a_run_ends_bit_for_bit_as_if_never(tmp_path):
  """Pain 34: parameters, moments, keys, data, counts and metrics resume."""
  whole = tmp_path / "whole"
  finish(start(whole, tmp_path))
  began = time.time()
  finish(start(tmp_path / "warm", tmp_path))  # programs are cached by now
  seconds = time.time() - began
  killed = tmp_path / "killed"
  moments = random.Random(0)
  for _ in range(3):
    process = start(killed, tmp_path)
    time.sleep(moments.uniform(0.2, 0.9) * seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
  finish(start(killed, tmp_path))
  expected, actual = final_files(whole), final_files(killed)
  assert actual["metrics"] == expected["metrics"]
  assert actual == expected
