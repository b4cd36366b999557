"""The main job on meshes of every kind: its first rows, to rounding."""

import chex
import pytest

from tests.experiments import killed_runs, rlvr_runs

# One worker makes the run that these tests share.
pytestmark = pytest.mark.xdist_group("resumable")


@pytest.mark.slow
def test_a_mesh_of_three_axes_writes_the_same_first_rows(
    resumable, data_dir, tmp_path
):
  """Later rows part: a rounding error grows until it moves one token."""
  config = killed_runs.resumable_config()
  assert config.mesh.to_dict() == dict(data=1, fsdp=1, tensor=1)
  config.mesh.update(data=2, fsdp=2, tensor=2)
  config.num_steps = 2
  rlvr_runs.run(config, tmp_path, data_dir)
  actual = rlvr_runs.rows_of(tmp_path, stage=None)
  warm_up = config.warm_up.num_steps
  assert [row["step"] for row in actual[warm_up:]] == [0, 1, 2]
  expected = rlvr_runs.rows_of(resumable[0], stage=None)[: len(actual)]
  chex.assert_trees_all_close(actual, expected, rtol=1e-4, atol=1e-5)
