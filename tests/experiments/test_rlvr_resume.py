"""Stopped, killed and started again: the same bytes, the same bits."""

import signal
import subprocess
import sys

import pytest

from tests.experiments import killed_runs, rlvr_runs

# One worker makes the run that these tests share.
pytestmark = pytest.mark.xdist_group("resumable")


def test_every_loop_of_a_run_goes_on_bit_for_bit(resumable):
  """Pain 34: parameters, moments, keys, data, counts and metrics resume."""
  workdir, stages = resumable
  assert stages == ["warm_up", "train"]
  assert [row["step"] for row in rlvr_runs.rows_of(workdir)] == list(range(13))


@pytest.mark.slow
def test_killed_and_started_again_a_run_ends_as_if_never(
    resumable, data_dir, tmp_path, request
):
  """By SIGKILL, in a process that had been stopped by its flag before."""
  command = [sys.executable, "-m", "tests.experiments.killed_runs"]
  process = subprocess.run(
      [*command, str(tmp_path), data_dir],
      cwd=request.config.rootpath,
      capture_output=True,
      timeout=500,
  )
  said = process.stdout.decode() + process.stderr.decode()
  assert process.returncode == -signal.SIGKILL, said[-3000:]
  assert "warm_up: stopped at step 1" in said
  rows = rlvr_runs.rows_of(tmp_path)
  assert rows[-1]["step"] == killed_runs.LAST_ROW
  rlvr_runs.run(killed_runs.resumable_config(), tmp_path, data_dir)
  expected = killed_runs.final_files(resumable[0])
  actual = killed_runs.final_files(tmp_path)
  assert actual["metrics"] == expected["metrics"]
  assert actual == expected
