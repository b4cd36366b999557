"""Devices that only sample, in the main job."""

import chex
import jax
import numpy as np
import pytest

from configs.rlvr import base
from experiments import rlvr_async
from tests.experiments import rlvr_runs

# One worker makes the runs that these tests share.
pytestmark = pytest.mark.xdist_group("pretrained")


@pytest.mark.slow
@pytest.mark.parametrize("judge", ["tokens", "text"])
def test_lag_0_is_the_synchronous_run(go, request, judge):
  whole = "adapted" if judge == "text" else "judged_by_tokens"
  expected, _ = request.getfixturevalue(whole)
  actual, _ = go(
      **(rlvr_runs.TOKENS if judge == "tokens" else {}),
      asynchronous=dict(lag=0, sampler_devices=2),
      mesh=dict(fsdp=2),
  )
  np.testing.assert_array_equal(actual[-1]["arm/staleness"], 0)
  for row, like in zip(actual, expected, strict=True):
    row.pop("arm/staleness", None)
    chex.assert_trees_all_close(row, like, rtol=2e-4, atol=2e-5)


def test_a_lag_is_reported_and_resumes_bit_for_bit(go, tmp_path):
  options = dict(
      num_steps=3,
      asynchronous=dict(lag=1, sampler_devices=1),
      off_policy=dict(correction="truncated"),
  )
  expected, whole = go(**options)
  stale = [row["arm/staleness"] for row in expected[1:]]
  np.testing.assert_array_equal(stale, [[0, 0], [1, 1], [1, 1]])
  # Older parameters have sampled: their log-probs are not the learner's.
  gaps = [np.min(row["arm/at_start/sampler_gap"]) for row in expected[1:]]
  assert gaps[0] < 1e-4 < 1e-3 < gaps[2]
  chunks = iter(range(1, 100))
  go(tmp_path, stop=lambda: next(chunks) == 2, **options)
  go(tmp_path, **options)
  read = lambda folder: (folder / "metrics.jsonl").read_bytes()
  assert read(tmp_path) == read(whole)


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
