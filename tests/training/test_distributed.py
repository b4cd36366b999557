import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from rewardjax.training import distributed
from rewardjax.training import mesh as meshes
from rewardjax.training.logging import read_rows
from tests.flags import one_device_flags
from tests.training import run_process

FULL = {
    "JAX_COORDINATOR_ADDRESS": "host:1",
    "JAX_NUM_PROCESSES": "4",
    "JAX_PROCESS_ID": "2",
}


def test_flags_come_before_the_environment():
  expected = {"coordinator": "host:1", "num_processes": 4, "process_id": 2}
  assert distributed.settings(environment=FULL) == expected
  found = distributed.settings("other:2", process_id=0, environment=FULL)
  assert found == {**expected, "coordinator": "other:2", "process_id": 0}


@pytest.mark.parametrize("environment", [{}, {"JAX_NUM_PROCESSES": "1"}])
def test_one_process_needs_nothing(environment, monkeypatch):
  assert distributed.settings(environment=environment) is None
  for variable in distributed.VARIABLES.values():
    monkeypatch.delenv(variable, raising=False)
  assert distributed.initialize() == 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"JAX_PROCESS_ID": ""}, r"missing process_id \(JAX_PROCESS_ID\)"),
        ({"JAX_NUM_PROCESSES": ""}, "missing num_processes"),
        ({"JAX_COORDINATOR_ADDRESS": ""}, "missing coordinator"),
        ({"JAX_PROCESS_ID": "4"}, "process_id must be in .*process_id=4"),
        ({"JAX_PROCESS_ID": "one"}, "must be an integer, got 'one'"),
        ({"JAX_NUM_PROCESSES": "0"}, "num_processes=0"),
    ],
)
def test_what_is_missing_or_wrong_is_named(change, message):
  with pytest.raises(ValueError, match=message):
    distributed.settings(environment={**FULL, **change})


def run(count, tmp_path):
  """Starts the processes, waits, and returns what each found."""
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    port = probe.getsockname()[1]
  out, run_dir = tmp_path / "found", tmp_path / f"run_{count}"
  command = [sys.executable, "-m", "tests.training.run_process"]
  processes = []
  for index in range(count):
    environment = {
        **os.environ,
        "XLA_FLAGS": one_device_flags(),
        "JAX_PLATFORMS": "cpu",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_NUM_PROCESSES": str(count),
        "JAX_PROCESS_ID": str(index),
    }
    processes.append(
        subprocess.Popen(
            [*command, f"{out}_of_{count}", str(run_dir)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    )
  try:
    outputs = [process.communicate(timeout=280)[0] for process in processes]
  finally:
    for process in processes:
      process.kill()
  for process, output in zip(processes, outputs):
    assert process.returncode == 0, output[-3000:]
  found = [np.load(f"{out}_of_{count}_{index}.npz") for index in range(count)]
  return found, run_dir, outputs


@pytest.mark.slow
def test_two_processes_take_the_step_of_one(tmp_path):
  one_dir = tmp_path / "run_1"
  mesh = meshes.make_mesh(devices=jax.devices()[:1])
  one = run_process.take_steps(one_dir, mesh)
  two, two_dir, outputs = run(2, tmp_path)
  for found in two:
    assert found["processes"] == 2
    for name in one:
      np.testing.assert_allclose(
          found[name], one[name], rtol=2e-5, atol=1e-7, err_msg=name
      )
  # Both stopped after the first chunk; only the first process speaks.
  assert "stopped at step 2" in outputs[0]
  assert "stopped at step 2" not in outputs[1]
  assert [r["step"] for r in read_rows(two_dir / "metrics.jsonl")] == [2, 4]
  for row, other in zip(
      read_rows(two_dir / "metrics.jsonl"), read_rows(one_dir / "metrics.jsonl")
  ):
    np.testing.assert_allclose(row["loss"], other["loss"], rtol=1e-5)
