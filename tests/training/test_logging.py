import json
import math
import os

import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.training import logging
from rewardjax.training.logging import MetricsWriter, jsonable, read_rows


def strict(line):
  def refuse(word):
    raise AssertionError(f"{word} is not JSON")

  return json.loads(line, parse_constant=refuse)


def test_rows_are_strict_json_and_read_back(tmp_path):
  writer = MetricsWriter(tmp_path, tensorboard=False)
  metrics = {
      "loss": jnp.float32(0.1),
      "nan": jnp.nan,
      "low": -math.inf,
      "seeds": np.array([1.5, np.inf]),
      "count": jnp.int32(3),
  }
  writer.write(5, metrics)
  (line,) = writer.path.read_text().splitlines()
  row = strict(line)
  # 0.1 in float32 is 0.10000000149 in float64; its own shortest form is 0.1.
  assert row["loss"] == 0.1 and row["count"] == 3 and row["nan"] == "NaN"
  (back,) = writer.rows()
  assert back["step"] == 5 and math.isnan(back["nan"])
  assert back["low"] == -math.inf and back["seeds"] == [1.5, math.inf]


def test_numbers_lose_nothing():
  rng = np.random.default_rng(0)
  for dtype in (np.float32, np.float64):
    values = rng.normal(size=100).astype(dtype)
    back = np.asarray(json.loads(json.dumps(jsonable(values))), dtype)
    np.testing.assert_array_equal(back, values)
  assert jsonable(jnp.bfloat16(0.3)) == pytest.approx(0.3, rel=0.01)
  assert jsonable((True, None, "x")) == [True, None, "x"]


def test_truncate_keeps_bytes_and_repairs_a_half_line(tmp_path):
  """Pain 34: NeMo-RL #3599. Pain 35: tunix d8959684."""
  writer = MetricsWriter(tmp_path, tensorboard=False)
  for step in (10, 20, 30):
    writer.write(step, {"loss": 1 / step})
  whole = writer.path.read_bytes()
  with open(writer.path, "ab") as file:
    file.write(b'{"step": 40, "lo')
  assert [row["step"] for row in writer.rows()] == [10, 20, 30]
  writer.truncate(30)
  assert writer.path.read_bytes() == whole
  writer.truncate(20)
  assert writer.path.read_bytes() == b"".join(whole.splitlines(True)[:2])
  writer.truncate(0)
  assert writer.path.read_bytes() == b""


@pytest.mark.parametrize("junk", [b"\x00\x00\n", b"[1]\n", b"{}\n", b"\xff"])
def test_junk_at_the_end_is_dropped(junk, tmp_path):
  writer = MetricsWriter(tmp_path, tensorboard=False)
  writer.write(1, {"a": 1})
  whole = writer.path.read_bytes()
  writer.path.write_bytes(whole + junk)
  writer.truncate(5)
  assert writer.path.read_bytes() == whole


def test_stages_share_a_file_and_are_truncated_apart(tmp_path):
  first = MetricsWriter(tmp_path, stage="warm_up", tensorboard=False)
  second = MetricsWriter(tmp_path, stage="reinforce", tensorboard=False)
  for step in (1, 2):
    first.write(step, {"loss": step})
  for step in (1, 2, 3):
    second.write(step, {"reward": step})
  second.truncate(1)
  rows = read_rows(tmp_path / "metrics.jsonl")
  kept = [(row["stage"], row["step"]) for row in rows]
  assert kept == [("warm_up", 1), ("warm_up", 2), ("reinforce", 1)]
  assert [row["reward"] for row in second.rows()] == [1]


def test_clock_times_stay_out_of_the_metrics(tmp_path):
  writer = MetricsWriter(tmp_path, tensorboard=False)
  writer.write(1, {"loss": 1.0})
  writer.write_timings(1, {"seconds": 0.25})
  assert "seconds" not in writer.path.read_text()
  assert read_rows(tmp_path / "timings.jsonl")[0]["seconds"] == 0.25


def test_config_is_written_whole(tmp_path):
  writer = MetricsWriter(tmp_path, tensorboard=False)
  writer.write_config({"rate": 0.5, "sizes": (1, 2), "path": tmp_path})
  config = json.loads((tmp_path / "config.json").read_text())
  assert config == {"rate": 0.5, "sizes": [1, 2], "path": os.fspath(tmp_path)}
  assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
  """Pain 35: tunix d8959684, a reader saw half a file."""
  path = logging.write_atomically(tmp_path / "a" / "file", "old")

  def fail(*_):
    raise OSError("disk full")

  monkeypatch.setattr(os, "fsync", fail)
  with pytest.raises(OSError, match="disk full"):
    logging.write_atomically(path, "new, and longer")
  assert path.read_text() == "old"


def test_tensorboard_events_are_written_where_it_is_installed(tmp_path):
  pytest.importorskip("tensorboardX")
  writer = MetricsWriter(tmp_path, stage="train")
  writer.write(1, {"loss": 2.0, "seeds": np.ones(3)})
  writer.close()
  (events,) = (tmp_path / "tensorboard" / "train").iterdir()
  assert events.stat().st_size > 50


def test_without_tensorboard_rows_are_still_written(tmp_path, monkeypatch):
  monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
  writer = MetricsWriter(tmp_path)
  writer.write(1, {"loss": 2.0})
  writer.write(2, {"loss": 1.0})
  writer.close()
  assert len(writer.rows()) == 2
  assert not (tmp_path / "tensorboard").exists()
