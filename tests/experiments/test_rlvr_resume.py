"""Killed at random moments and started again: the same bytes, the same bits."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.flags import one_device_flags

ROOT = pathlib.Path(__file__).parents[2]


def start(workdir, folder):
  """The run as a process of its own; programs are compiled once for all."""
  environment = dict(
      os.environ,
      JAX_PLATFORMS="cpu",
      XLA_FLAGS=one_device_flags(),
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


def wait_for(process, path, size):
  """Until the file is that long; the run must not have ended before."""
  while not path.exists() or path.stat().st_size < size:
    assert process.poll() is None, process.communicate()[1].decode()[-3000:]
    time.sleep(0.01)


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
  whole, killed = tmp_path / "whole", tmp_path / "killed"
  finish(start(whole, tmp_path))
  length = (whole / "metrics.jsonl").stat().st_size
  moments = random.Random(0)
  for share in (0.1, 0.4, 0.7):  # of the metrics, and a little later
    process = start(killed, tmp_path)
    wait_for(process, killed / "metrics.jsonl", share * length)
    time.sleep(moments.uniform(0.0, 0.1))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
  finish(start(killed, tmp_path))
  expected, actual = final_files(whole), final_files(killed)
  assert actual["metrics"] == expected["metrics"]
  assert actual == expected
