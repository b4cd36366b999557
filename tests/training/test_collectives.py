import pytest

from benchmarks import collectives


@pytest.fixture(scope="module")
def counts():
  return collectives.counts()


def test_the_budget_is_that_of_one_hand_written_psum(counts):
  budget = counts["hand-written psum"]
  assert budget.instructions >= 1  # else the pattern found nothing
  ways = {k: v for k, v in counts.items() if not k.startswith("hand")}
  for way, count in ways.items():
    assert count.instructions <= budget.instructions, way


@pytest.mark.parametrize("way", ["shard_map", "shard_map, unchecked", "pmap"])
def test_no_more_is_sent_than_by_hand(counts, way):
  assert counts[way].buffers <= counts["hand-written psum"].buffers


def test_microbatches_are_added_before_devices_are(counts):
  assert counts["shard_map, 4 microbatches"].looped == 0
