"""A disk without room: the run goes on, the next checkpoint tries again."""

import errno
import warnings

import jax
import jax.numpy as jnp
import pytest

from rewardjax.training import loop
from rewardjax.training.checkpoints import Checkpointer, NotSavedError

FULL = OSError(errno.ENOSPC, "No space left on device")


class Disk:
  """Says when it is full: while a write starts, or in its background."""

  def __init__(self, monkeypatch, background):
    import orbax.checkpoint as ocp

    self.full, self._pending = False, False
    kind = ocp.AsyncCheckpointer
    save, wait = kind.save, kind.wait_until_finished

    def patched_save(writer, path, **options):
      self._pending = self.full
      if self.full and not background:
        raise FULL
      if self.full:  # a leftover, as of a writer that was stopped
        path.with_name(f"{path.name}.orbax-checkpoint-tmp").mkdir()
      else:
        save(writer, path, **options)

    def patched_wait(writer):
      wait(writer)
      if self._pending and background:
        self._pending = False
        raise ValueError(f"RESOURCE_EXHAUSTED: {FULL}")

    monkeypatch.setattr(kind, "save", patched_save)
    monkeypatch.setattr(kind, "wait_until_finished", patched_wait)


def run(folder, disk, full_at, num_steps=6):
  """Adds 1 a step; the disk is full while step `full_at` and so on is due."""

  def step(state, _):
    disk.full = int(state) + 1 in full_at
    return state + 1, {"x": state}

  with Checkpointer(folder) as checkpointer:
    return loop.run_loop(
        step,
        jnp.zeros(()),
        num_steps=num_steps,
        chunk=1,
        checkpointer=checkpointer,
        every=1,
        progress=False,
    )


@pytest.mark.parametrize("background", [False, True])
def test_a_run_goes_on_and_saves_once_there_is_room(
    tmp_path, monkeypatch, background
):
  disk = Disk(monkeypatch, background)
  with pytest.warns(UserWarning) as caught:
    result = run(tmp_path, disk, {3, 4})
  assert result.step == 6
  texts = [str(x.message) for x in caught]
  assert len(texts) == 2
  for text, step in zip(texts, (3, 4)):
    assert str(tmp_path / f"step_{step:08d}") in text
    assert "No space left on device" in text and "\n" not in text
  with Checkpointer(tmp_path) as checkpointer:
    assert checkpointer.steps() == [2, 5, 6]
    restored = checkpointer.restore(jax.ShapeDtypeStruct((), jnp.float32))
  assert restored.step == 6 and restored.tree == 6
  assert not list(tmp_path.glob("*tmp*"))


@pytest.mark.parametrize("background", [False, True])
def test_a_last_state_that_is_not_saved_is_an_error(
    tmp_path, monkeypatch, background
):
  disk = Disk(monkeypatch, background)
  message = r"state of the run is not saved: .*step_00000006.*No space.*\[3, 4"
  with (
      pytest.warns(UserWarning, match="step_00000006"),
      pytest.raises(NotSavedError, match=message),
  ):
    run(tmp_path, disk, {6})
  # Once there is room, the same command goes on from the last good one.
  disk.full = False
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert run(tmp_path, disk, {}).step == 6
