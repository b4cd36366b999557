import os
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.training import loop
from rewardjax.training import mesh as meshes
from rewardjax.training.checkpoints import Checkpointer
from rewardjax.training.logging import MetricsWriter, read_rows
from tests.training import run_toy, toy

# They share what they compile.
pytestmark = pytest.mark.xdist_group("training.loop")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A run that nobody disturbed."""
  run_dir = tmp_path_factory.mktemp("finished")
  result = run_toy.run(run_dir)
  return run_dir, result


def assert_same_end(run_dir, state, finished):
  expected_dir, expected = finished
  metrics = (run_dir / "metrics.jsonl").read_bytes()
  assert metrics == (expected_dir / "metrics.jsonl").read_bytes()
  data = lambda x: (
      jax.random.key_data(x)
      if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
      else x
  )
  jax.tree.map(
      lambda x, y: np.testing.assert_array_equal(data(x), data(y)),
      state,
      expected.state,
  )


def test_rows_are_means_over_their_chunk(finished):
  run_dir, result = finished
  rows = read_rows(run_dir / "metrics.jsonl")
  assert [row["step"] for row in rows] == list(range(2, 41, 2))
  assert result.step == 40 and not result.stopped
  state, losses, batches = run_toy.init(), [], toy.Counter()
  step = jax.jit(run_toy.make_step())
  for _ in range(4):
    state, metrics = step(state, next(batches))
    losses.append(metrics["loss"])
  np.testing.assert_allclose(rows[1]["loss"], np.mean(losses[2:]), rtol=1e-5)


def test_reduce_chunk_adds_counts_and_averages_floats():
  metrics = {"loss": jnp.array([1.0, 3.0]), "skipped": jnp.array([1, 1])}
  reduced = loop.reduce_chunk(metrics)
  assert reduced["loss"] == 2.0 and reduced["skipped"] == 2


def test_a_run_repeats_exactly(finished, tmp_path):
  """Pain 36: verl #1683, #3126, open-instruct #648."""
  result = run_toy.run(tmp_path)
  assert_same_end(tmp_path, result.state, finished)


@pytest.mark.parametrize("stops_after", [1, 7, 10])
def test_stopped_and_resumed_is_never_stopped(
    stops_after, finished, tmp_path, capsys
):
  """Pain 34: open-instruct #1823, TRL #2657, open-r1 #450, verl #425,
  NeMo-RL #3599, xtuner #1386: state, keys, data, statistics and rows.
  """
  chunks = iter(range(1, 100))
  result = run_toy.run(tmp_path, stop=lambda: next(chunks) == stops_after)
  assert result.stopped and result.step == 2 * stops_after
  out = capsys.readouterr().out
  assert f"stopped at step {2 * stops_after}" in out
  assert f"step_{2 * stops_after:08d}; run the same command again" in out
  result = run_toy.run(tmp_path)
  assert not result.stopped
  assert_same_end(tmp_path, result.state, finished)


class Killed(BaseException):
  """Nothing catches it: no cleaning up, as with SIGKILL."""


def test_rows_after_the_checkpoint_are_written_again(finished, tmp_path):
  chunks = iter(range(1, 100))

  def die():
    if next(chunks) == 7:
      raise Killed
    return False

  with pytest.raises(Killed):
    run_toy.run(tmp_path, stop=die)
  rows = read_rows(tmp_path / "metrics.jsonl")
  assert rows[-1]["step"] == 14  # the newest checkpoint is of step 12
  with open(tmp_path / "metrics.jsonl", "ab") as file:
    file.write(b'{"step": 16, "gra')
  result = run_toy.run(tmp_path)
  assert_same_end(tmp_path, result.state, finished)


def test_a_damaged_checkpoint_only_costs_time(finished, tmp_path):
  """Pain 35: tunix d8959684, 2f1ff1bc."""
  chunks = iter(range(1, 100))
  run_toy.run(tmp_path, stop=lambda: next(chunks) == 9)
  shutil.rmtree(tmp_path / "checkpoints" / "step_00000018" / "tree")
  with pytest.warns(UserWarning, match="step_00000018 is damaged"):
    result = run_toy.run(tmp_path)
  assert_same_end(tmp_path, result.state, finished)


def spawn(run_dir, *arguments):
  command = [sys.executable, "-m", "tests.training.run_toy", str(run_dir)]
  return subprocess.Popen(
      [*command, *arguments],
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
  )


def wait_for_rows(process, run_dir, count):
  deadline = time.monotonic() + 240
  while time.monotonic() < deadline and process.poll() is None:
    if len(read_rows(run_dir / "metrics.jsonl")) >= count:
      return
    time.sleep(0.01)
  process.kill()
  pytest.fail(f"no {count} rows: {process.communicate()[0]}")


@pytest.mark.slow
def test_killed_then_stopped_then_resumed_is_bit_identical(
    finished, tmp_path, monkeypatch, capsys
):
  """Pain 34, and 35: SIGKILL may hit a step, a row or half a checkpoint.

  SIGTERM saves, says how to go on and exits cleanly.
  """
  process = spawn(tmp_path, "--delay", "0.1")
  wait_for_rows(process, tmp_path, 5)
  time.sleep(random.uniform(0, 0.3))
  process.kill()
  process.communicate()
  assert process.returncode == -signal.SIGKILL
  process = spawn(tmp_path, "--delay", "0.1")
  wait_for_rows(process, tmp_path, 10)
  os.kill(process.pid, signal.SIGTERM)
  out, _ = process.communicate(timeout=240)
  assert process.returncode == 0, out
  assert "run the same command again to resume" in out
  step = read_rows(tmp_path / "metrics.jsonl")[-1]["step"]
  assert f"stopped {step}" in out and step < 40
  monkeypatch.setattr(sys, "argv", ["run_toy", str(tmp_path)])
  run_toy.main()
  assert "finished 40" in capsys.readouterr().out
  with Checkpointer(tmp_path / "checkpoints") as checkpointer:
    restored = checkpointer.restore(run_toy.init())
  assert restored.step == 40 and restored.extra == {"data": {"index": 40}}
  assert_same_end(tmp_path, restored.tree, finished)


def sharded(count):
  """The toy state and its batches on a mesh of `count` devices."""
  sizes = {8: (2, 2, 2), 4: (2, 2, 1), 1: (1, 1, 1)}[count]
  mesh = meshes.make_mesh(*sizes, devices=jax.devices()[:count])
  rules = meshes.shard_rules()
  state = meshes.shard_tree(run_toy.init(), mesh, rules, min_size=1)
  place = lambda batches: meshes.shard_batch(batches, mesh, leading=1)
  return dict(state=state, place=place)


def test_resumes_on_another_number_of_devices(finished, tmp_path):
  """Pain 33: orbax #648, #683, #1904; maxdiffusion #379: 8 -> 1 -> 4.

  Pain 30: purejaxrl #25, sbx #14, jax #837: no retraces, resuming included.
  """
  assert finished[1].retraces == 0
  for num_steps, count in ((16, 8), (28, 1), (40, 4)):
    result = run_toy.run(tmp_path, num_steps=num_steps, **sharded(count))
    devices = result.state["train"].params["embedding"].sharding.device_set
    assert len(devices) == count
    assert result.retraces == 0
  expected = read_rows(finished[0] / "metrics.jsonl")
  actual = read_rows(tmp_path / "metrics.jsonl")
  assert len(actual) == len(expected)
  for row, other in zip(actual, expected):
    np.testing.assert_allclose(row["loss"], other["loss"], rtol=1e-4)
  jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5),
      result.state["train"].params,
      finished[1].state["train"].params,
  )


def test_retraces_are_counted_and_reported():
  lengths = iter([4, 4, 6, 8])

  class Growing:
    def __next__(self):
      return np.zeros(next(lengths), np.float32)

    def get_state(self):
      return None

    def set_state(self, state):
      raise NotImplementedError

  step = jax.jit(lambda state, batch: (state, {"x": jnp.sum(batch)}))
  with pytest.warns(UserWarning, match="compiled 2 more times"):
    result = loop.run_loop(
        step, {}, Growing(), num_steps=4, chunk=1, progress=False
    )
  assert result.retraces == 2


def test_a_compiled_chunk_keeps_the_state_where_it_was():
  """Left to the compiler, a copied leaf comes back split: a new program."""
  mesh = meshes.make_mesh(8)
  first = meshes.replicate({"x": jnp.zeros(8)}, mesh)
  batch = meshes.shard_batch(np.ones((2, 8)), mesh, leading=1)
  add = lambda state, batch: ({"x": state["x"] + batch}, {})

  def compilations(function):
    state, counts = first, []
    for _ in range(3):
      with loop.count_compilations() as count:
        state, _ = function(state, batch)
      counts.append(count[0])
    return counts

  chunk = loop.make_chunk(add)
  assert compilations(jax.jit(chunk)) == [1, 1, 0]
  kept = loop.compile_chunk(chunk, first, donate=False)
  assert compilations(kept) == [1, 0, 0]


def test_the_host_reads_metrics_once_a_chunk(monkeypatch):
  calls, read = [], jax.device_get

  def counted(tree):
    calls.append(tree)
    return read(tree)

  monkeypatch.setattr(jax, "device_get", counted)
  step = jax.jit(loop.make_chunk(lambda s, _: (s + 1, {"s": s}), length=5))
  result = loop.run_loop(
      step, jnp.zeros(()), num_steps=20, chunk=5, progress=False
  )
  assert len(calls) == 4
  assert result.metrics["s"] == 17.0  # the mean of 15 .. 19


def test_the_bar_goes_on_where_it_was(tmp_path, capsys):
  """Pain 34: EasyR1 #237, the bar restarted at 0."""
  run_toy.run(tmp_path, num_steps=20, progress=True)
  capsys.readouterr()
  run_toy.run(tmp_path, num_steps=40, progress=True)
  bar = capsys.readouterr().err
  assert "toy:  50%" in bar and "20/40" in bar
  assert "40/40" in bar and " 0/40" not in bar and "loss=" in bar


def test_a_finished_run_starts_nothing(finished):
  run_dir, expected = finished
  before = (run_dir / "metrics.jsonl").read_bytes()
  result = run_toy.run(run_dir, batches=toy.Counter(make=None))
  assert result.step == 40
  assert result.metrics == read_rows(run_dir / "metrics.jsonl")[-1]
  assert_same_end(run_dir, result.state, (run_dir, expected))
  assert (run_dir / "metrics.jsonl").read_bytes() == before


def test_sizes_that_do_not_fit_are_named(finished, tmp_path):
  step = lambda state, batch: (state, {})
  call = lambda **sizes: loop.run_loop(step, {}, progress=False, **sizes)
  with pytest.raises(ValueError, match="every=3 must be a multiple of chunk=2"):
    call(num_steps=4, chunk=2, every=3)
  with pytest.raises(ValueError, match="the 5 steps from 0 .* of chunk=2"):
    call(num_steps=5, chunk=2)
  with pytest.raises(ValueError, match="num_steps must be in"):
    call(num_steps=0, chunk=2)
  with pytest.raises(ValueError, match="at step 40, past num_steps=20"):
    run_toy.run(finished[0], num_steps=20)


def test_data_that_end_are_an_error(tmp_path):
  class Two(toy.Counter):
    def __next__(self):
      if self.index == 2:
        raise StopIteration
      return super().__next__()

  writer = MetricsWriter(tmp_path, tensorboard=False)
  step = jax.jit(lambda state, batch: (state, {}))
  with pytest.raises(ValueError, match="batches ended before num_steps"):
    loop.run_loop(
        step, {}, Two(), num_steps=4, chunk=1, writer=writer, progress=False
    )
