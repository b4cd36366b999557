"""Devices that only sample, in the main job."""

import chex
import jax
import numpy as np
import pytest

from configs.rlvr import base
from experiments import export_policy, rlvr_async
from tests.experiments import killed_runs, rlvr_runs

# One worker makes the runs that these tests share.
pytestmark = pytest.mark.xdist_group("pretrained")


def assert_close(actual, expected):
  """Rows of a run and of the synchronous one."""
  for row, like in zip(actual, expected, strict=True):
    own = ("arm/staleness", "arm/at_start/")
    row = {k: v for k, v in row.items() if not k.startswith(own)}
    chex.assert_trees_all_close(row, like, rtol=2e-4, atol=2e-5)


@pytest.mark.slow
def test_lag_0_is_the_synchronous_run(go, adapted):
  """With verifiers of text; for those of tokens see the first step below."""
  actual, _ = go(
      asynchronous=dict(lag=0, sampler_devices=2), mesh=dict(fsdp=2)
  )
  np.testing.assert_array_equal(actual[-1]["arm/staleness"], 0)
  assert_close(actual, adapted[0])


def test_a_lag_is_reported_and_resumes_bit_for_bit(
    go, judged_by_tokens, tmp_path
):
  """The views that are on their way are in the checkpoint."""
  with killed_runs.resumed(tmp_path / "resumed") as stages:
    rows, workdir = go(
        tmp_path / "whole",
        **rlvr_runs.TOKENS,
        num_steps=3,
        asynchronous=dict(lag=1, sampler_devices=2),
        mesh=dict(fsdp=2),
        off_policy=dict(correction="truncated"),
    )
  assert stages == ["train"]
  # Nothing is stale before the second step.
  assert_close(rows[:2], judged_by_tokens[0][:2])
  stale = [row["arm/staleness"] for row in rows[1:]]
  np.testing.assert_array_equal(stale, [[0, 0], [1, 1], [1, 1]])
  # Older parameters have sampled: their log-probs are not the learner's.
  gaps = [np.min(row["arm/at_start/sampler_gap"]) for row in rows[1:]]
  assert gaps[0] < 1e-4 < 1e-3 < gaps[2]
  # One device is enough to read what several have written.
  said = export_policy.export(workdir, tmp_path / "folder", seed=1)
  assert "arm arm, seed 1, step 3, with its tokenizer" in said


def test_devices_are_shared_out_or_missed_in_one_line():
  config = base.get_config("tiny")
  config.asynchronous.update(lag=1, sampler_devices=3)
  config.mesh.update(data=2)
  sampler, learner = rlvr_async.make_meshes(config)
  devices = jax.devices()
  assert list(learner.devices.flat) == devices[:2]
  assert list(sampler.devices.flat) == devices[2:5]
  config.mesh.update(data=-1)
  assert rlvr_async.make_meshes(config).learner.size == 5
  config.mesh.update(data=8)
  with pytest.raises(ValueError, match="need 11 devices, there are 8"):
    rlvr_async.make_meshes(config)
