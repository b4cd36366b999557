"""The main job on meshes of every kind: its first rows, to rounding."""

import chex
import pytest

from experiments import rlvr
from tests.experiments.rlvr_runs import rows_of, small_config


def first_rows(workdir, data_dir, sizes):
  """Of the warm-up, and before and after two steps of reinforcement."""
  config = small_config(
      num_steps=2,
      log_every=1,
      checkpoint_every=2,
      warm_up=dict(num_steps=2, batch_size=16),
      sampling=dict(batch_size=8),
      mesh=dict(zip(("data", "fsdp", "tensor"), sizes)),
      arms=dict(arm=dict()),
  )
  rlvr.run(config, workdir, data_dir=data_dir, progress=False)
  return rows_of(workdir, stage=None)


@pytest.mark.slow
def test_a_mesh_of_three_axes_writes_the_same_first_rows(tmp_path):
  """Later rows part: a rounding error grows until it moves one token."""
  data_dir = str(tmp_path / "data")
  expected = first_rows(tmp_path / "one", data_dir, (1, 1, 1))
  assert len(expected) == 5
  actual = first_rows(tmp_path / "eight", data_dir, (2, 2, 2))
  chex.assert_trees_all_close(actual, expected, rtol=1e-4, atol=1e-5)
