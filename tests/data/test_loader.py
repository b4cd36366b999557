import json

import numpy as np
import pytest

from rewardjax.data import loader
from rewardjax.data.loader import Loader

ROWS = [{"id": np.int32(i), "text": f"row {i}".encode()} for i in range(10)]


def take(batches, count):
  return [next(batches)["id"].tolist() for _ in range(count)]


@pytest.mark.parametrize("num_threads", [0, 2])
@pytest.mark.parametrize("stop_at", [0, 1, 3, 7])
def test_kill_and_continue_is_bit_identical(stop_at, num_threads):
  """Pain 34 (NeMo-RL #3599, open-instruct #1823): no row skipped or repeated.

  The state goes through JSON into a new loader, as after a kill.
  """
  make = lambda: Loader(ROWS, batch_size=4, seed=3, num_threads=num_threads)
  whole = take(make(), 12)
  before = make()
  assert take(before, stop_at) == whole[:stop_at]
  after = make()
  after.set_state(json.loads(json.dumps(before.get_state())))
  assert take(after, 12 - stop_at) == whole[stop_at:]


def test_every_epoch_holds_every_row_once_in_a_new_order():
  batches = take(Loader(ROWS, batch_size=5, seed=0), 8)
  epochs = np.reshape(batches, (4, 10))
  np.testing.assert_array_equal(np.sort(epochs), [range(10)] * 4)
  assert len({tuple(epoch) for epoch in epochs}) == 4


def test_order_depends_on_the_seed_only():
  """Pain 36 (verl #1683): the same seed gives the same run."""
  first = take(Loader(ROWS, batch_size=4, seed=1), 5)
  assert take(Loader(ROWS, batch_size=4, seed=1), 5) == first
  assert take(Loader(ROWS, batch_size=4, seed=2), 5) != first


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_global_batch_in_order(count):
  whole = take(Loader(ROWS, batch_size=4, seed=5), 6)
  parts = [
      take(
          Loader(
              ROWS,
              batch_size=4,
              seed=5,
              process_index=i,
              process_count=count,
          ),
          6,
      )
      for i in range(count)
  ]
  assert np.concatenate(parts, axis=1).tolist() == whole


def test_a_state_continues_on_another_number_of_processes():
  whole = take(Loader(ROWS, batch_size=4, seed=5), 6)
  one = Loader(ROWS, batch_size=4, seed=5)
  take(one, 2)
  two = [
      Loader(ROWS, batch_size=4, seed=5, process_index=i, process_count=2)
      for i in range(2)
  ]
  for part in two:
    part.set_state(one.get_state())
  joined = np.concatenate([take(part, 4) for part in two], axis=1)
  assert joined.tolist() == whole[2:]


def test_finite_epochs_in_order_end_after_the_last_full_batch():
  batches = Loader(ROWS, batch_size=4, seed=0, shuffle=False, num_epochs=1)
  ids = [batch["id"].tolist() for batch in batches]
  assert ids == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_collate_stacks_numbers_and_lists_text():
  batch = next(Loader(ROWS, batch_size=2, seed=0, shuffle=False))
  assert batch["text"] == ["row 0", "row 1"]
  assert batch["id"].dtype == np.int32 and batch["id"].shape == (2,)
  stacked = loader.collate([{"x": np.ones(3)}, {"x": np.zeros(3)}])
  assert stacked["x"].shape == (2, 3)
  with pytest.raises(ValueError, match="field 'x'"):
    loader.collate([{"x": np.ones(3)}, {"x": np.ones(2)}])
  with pytest.raises(ValueError, match="field 'x'"):
    loader.collate([{"x": 1}, {"y": 1}])


def test_padded_batches_cover_each_row_once():
  batches = list(loader.padded_batches(ROWS, batch_size=4))
  ids = np.array([batch["id"] for batch, _ in batches])
  masks = np.array([mask for _, mask in batches])
  assert ids.shape == masks.shape == (3, 4)
  assert ids[masks].tolist() == list(range(10))
  assert ids[~masks].tolist() == [9, 9]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(batch_size=0), "batch_size must be in"),
        (dict(source=[]), "source must be in"),
        (dict(seed=-1), "seed must be in"),
        (dict(process_count=3), "multiple of process_count 3"),
        (dict(process_index=1), "process_index must be in"),
        (dict(num_epochs=1, batch_size=12), "do not fill one batch"),
    ],
)
def test_errors_name_the_argument(change, message):
  arguments = dict(source=ROWS, batch_size=4, seed=0) | change
  with pytest.raises(ValueError, match=message):
    Loader(**arguments)


@pytest.mark.parametrize(
    "change", [dict(seed=1), dict(batch_size=2), dict(source=ROWS[:9])]
)
def test_a_state_of_another_order_is_refused(change):
  state = Loader(ROWS, batch_size=4, seed=0).get_state()
  other = Loader(**(dict(source=ROWS, batch_size=4, seed=0) | change))
  with pytest.raises(ValueError, match="when the state was saved"):
    other.set_state(state)
