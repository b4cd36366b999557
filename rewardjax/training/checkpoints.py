"""Checkpoints that are atomic, verified on reading, and fall back.

Orbax writes the arrays in the background and renames the finished directory
into place; with them goes a manifest of every leaf's path, shape, dtype and
fingerprint. Whoever restores gets exactly what was saved, or the checkpoint
before it with a warning; never half of one. A disk that is full stops no run:
the next write tries again.
"""

import os
import pathlib
import re
import shutil
import warnings
from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree

from rewardjax.core import checks
from rewardjax.training import manifests
from rewardjax.training.manifests import DamagedError

_NAME = re.compile(r"step_(\d+)")


class NotSavedError(OSError):
  """The newest state of a run could not be written."""


class Restored(NamedTuple):
  """What a checkpoint held."""

  step: int
  tree: PyTree
  extra: Any  # as JSON returns it; bytes stay bytes


class Checkpointer:
  """Keeps the newest `keep` checkpoints of a run in one directory.

  Args:
    directory: made if missing; leftovers of killed writers are removed.
    keep: how many finished checkpoints stay.

  A context manager; leaving it waits for the last write.
  """

  def __init__(self, directory: str | os.PathLike, *, keep: int = 3):
    import orbax.checkpoint as ocp

    checks.at_least("Checkpointer", 1, keep=keep)
    self.directory = pathlib.Path(directory).absolute()
    self.directory.mkdir(parents=True, exist_ok=True)
    self._keep = keep
    self._damaged: set[int] = set()
    self._writing: int | None = None  # the step, until it is known to be there
    self._failed: str | None = None  # what became of the newest write
    self._writer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
    self._remove_partial()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def path(self, step: int) -> pathlib.Path:
    """Where the checkpoint of `step` is, or would be."""
    return self.directory / f"step_{step:08d}"

  def steps(self) -> list[int]:
    """Steps with a finished checkpoint, intact or not, in ascending order."""
    names = (_NAME.fullmatch(path.name) for path in self.directory.iterdir())
    return sorted(int(match[1]) for match in names if match)

  def save(self, step: int, tree: PyTree, extra: Any = None) -> None:
    """Starts writing; returns once the arrays may be donated or changed.

    A write that fails leaves a warning, and `wait` raises unless a later one
    succeeds.

    Args:
      step: replaces a checkpoint of the same step.
      tree: arrays on any devices, typed keys, NumPy arrays, Python numbers.
      extra: anything JSON can hold, and bytes: a data cursor, a position.

    Raises:
      TypeError: naming the path of a leaf of any other type.
    """
    import orbax.checkpoint as ocp

    self._finish()  # one write at a time
    self._damaged.discard(step)
    leaves = manifests.encode(tree)
    manifest = manifests.make(tree, leaves, extra)
    arrays = _numbered(leaves)
    items = {"manifest": ocp.args.JsonSave(manifest)}
    if arrays:
      items["tree"] = ocp.args.StandardSave(arrays)
    args = ocp.args.Composite(**items)
    self._writing, self._failed = step, None
    try:
      self._writer.save(self.path(step), args=args, force=True)
    except Exception as error:  # of what kind is not documented
      self._fail(error)

  def wait(self) -> None:
    """Blocks until the last write is finished.

    Raises:
      NotSavedError: if it failed.
    """
    self._finish()
    if self._failed is not None:
      reason, self._failed = self._failed, None
      raise NotSavedError(
          f"the state of the run is not saved: {reason}; intact are steps "
          f"{self.steps()}."
      )

  def _finish(self) -> None:
    """Ends the last write, well or with a warning."""
    if self._writing is None:
      return
    try:
      self._writer.wait_until_finished()
    except Exception as error:  # of what kind is not documented
      self._fail(error)
      return
    self._writing = None
    self._prune()  # nothing goes before something was written

  def _fail(self, error: Exception) -> None:
    path, self._writing = self.path(self._writing), None
    reason = f"{type(error).__name__}: {_brief(error)}"
    self._failed = f"{path} could not be written ({reason})"
    warnings.warn(
        f"Checkpoint {self._failed}; the run goes on, and the next checkpoint "
        "tries again.",
        stacklevel=4,
    )
    self._remove_partial()

  def _remove_partial(self) -> None:
    """Removes what writers that were killed or failed have left."""
    if jax.process_index() == 0:
      for path in self.directory.glob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(path, ignore_errors=True)

  def close(self) -> None:
    """Waits, then frees the writer's threads; raises as `wait`."""
    try:
      self.wait()
    finally:
      self._writer.close()

  def restore(self, target: PyTree, step: int | None = None) -> Restored | None:
    """Reads the newest intact checkpoint onto the shardings of `target`.

    Args:
      target: a tree of the same structure: arrays, or `ShapeDtypeStruct`s
        with shardings of any mesh of this machine. Values are not read.
      step: only this one, intact or not at all.

    Returns:
      The checkpoint; None if the directory holds none.

    Raises:
      ValueError: if an intact checkpoint holds another tree, naming the
        first path that differs, or if there is none of `step`.
      RuntimeError: if there are checkpoints, all of them damaged.
    """
    self.wait()
    steps = self.steps()
    if step is not None and step not in steps:
      raise ValueError(f"restore: no checkpoint of step {step} among {steps}.")
    steps = steps if step is None else [step]
    for candidate in reversed(steps):
      try:
        return self._read(candidate, target)
      except DamagedError as error:
        self._damaged.add(candidate)
        warnings.warn(
            f"Checkpoint {self.path(candidate)} is damaged ({error}); trying "
            "the one before.",
            stacklevel=2,
        )
    if steps:
      raise RuntimeError(
          f"restore: no intact checkpoint in {self.directory}, tried steps "
          f"{steps}; move the directory away to start afresh."
      )
    return None

  def _read(self, step: int, target: PyTree) -> Restored:
    import orbax.checkpoint as ocp

    path = self.path(step)
    read = lambda **items: _damaged_if_raises(
        lambda: self._writer.restore(path, args=ocp.args.Composite(**items))
    )
    stored = read(manifest=ocp.args.JsonRestore())["manifest"]
    manifest = manifests.verify(stored)
    manifests.check_same_tree(manifest, target, path)
    leaves = manifests.abstract_leaves(target)
    arrays = _numbered(leaves)
    if arrays:
      arrays = read(tree=ocp.args.StandardRestore(arrays))["tree"]
    leaves = [
        arrays.get(f"{i:06d}", x) for i, x in enumerate(leaves)
    ]
    manifests.check_fingerprints(manifest, leaves)
    tree = manifests.decode(target, leaves)
    return Restored(step, tree, manifest["extra"])

  def _prune(self) -> None:
    """Removes what was found damaged, and all but the newest `keep`."""
    if jax.process_index() == 0:
      dropped = self._damaged & set(self.steps())
      intact = [step for step in self.steps() if step not in dropped]
      for step in dropped | set(intact[: -self._keep]):
        shutil.rmtree(self.path(step), ignore_errors=True)
    self._damaged.clear()


def _brief(error: Exception) -> str:
  """One line; what went wrong stands at the end of TensorStore's."""
  text = " ".join(str(error).split())
  return text if len(text) < 250 else f"{text[:100]} ... {text[-140:]}"


def _numbered(leaves: list) -> dict[str, Any]:
  """Leaves by number, without empty ones, which Orbax refuses."""
  return {f"{i:06d}": x for i, x in enumerate(leaves) if 0 not in x.shape}


def _damaged_if_raises(read):
  try:
    return read()
  # What a broken file makes Orbax or TensorStore raise is not documented.
  except Exception as error:
    reason = f"{type(error).__name__}: {_brief(error)}"
    raise DamagedError(reason) from error
