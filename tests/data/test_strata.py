import json

import numpy as np
import pytest

from rewardjax.data.strata import StratifiedLoader

# Kind 0 has 7 rows, kind 1 three, kind 2 one.
KINDS = [0, 1, 0, 0, 2, 1, 0, 0, 1, 0, 0]
ROWS = [{"id": np.int32(i), "kind": np.int32(k)} for i, k in enumerate(KINDS)]


def make(seed=3, batch_size=2, rows=ROWS):
  return StratifiedLoader(
      rows,
      [int(row["kind"]) for row in rows],
      num_kinds=3,
      batch_size=batch_size,
      seed=seed,
  )


def take(batches, count):
  return [next(batches)["id"].tolist() for _ in range(count)]


def test_every_place_has_a_row_of_each_kind():
  for batch in (next(make()) for _ in range(5)):
    np.testing.assert_array_equal(batch["kind"], [0, 1, 2] * 2)


def test_every_kind_has_epochs_of_its_own():
  ids = np.reshape(take(make(batch_size=7), 3), (3, 7, 3))
  for epoch in ids[:, :, 0]:
    assert sorted(epoch) == [i for i, k in enumerate(KINDS) if k == 0]
  epochs = ids[:, :, 1].reshape(7, 3)
  assert all(sorted(epoch) == [1, 5, 8] for epoch in epochs)
  assert len({tuple(epoch) for epoch in epochs}) > 1


@pytest.mark.parametrize("stop_at", [0, 1, 5])
def test_kill_and_continue_is_bit_identical(stop_at):
  """Pain 34: through JSON into a new loader, as after a kill."""
  whole, before, after = take(make(), 9), make(), make()
  assert take(before, stop_at) == whole[:stop_at]
  after.set_state(json.loads(json.dumps(before.get_state())))
  assert take(after, 9 - stop_at) == whole[stop_at:]
  assert take(make(seed=4), 9) != whole


def test_what_does_not_fit_is_named():
  with pytest.raises(ValueError, match="kinds must all occur, 2 does not"):
    make(rows=[row for row in ROWS if row["kind"] < 2])
  with pytest.raises(ValueError, match="kinds were 1 when the state"):
    make().set_state({"kinds": make().get_state()["kinds"][:1]})
  with pytest.raises(ValueError, match="batch_size must be in"):
    make(batch_size=0)
