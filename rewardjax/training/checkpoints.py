"""Checkpoints that are atomic, verified on reading, and fall back.

Orbax writes the arrays in the background and renames the finished directory
into place; with them goes a manifest of every leaf's path, shape, dtype and
fingerprint. Whoever restores gets exactly what was saved, or the checkpoint
before it with a warning; never half of one.
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
    self._unpruned = False  # nothing is removed before something was written
    self._writer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
    if jax.process_index() == 0:
      for path in self.directory.glob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(path, ignore_errors=True)

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

    Args:
      step: replaces a checkpoint of the same step.
      tree: arrays on any devices, typed keys, NumPy arrays, Python numbers.
      extra: anything JSON can hold, and bytes: a data cursor, a position.

    Raises:
      TypeError: naming the path of a leaf of any other type.
    """
    import orbax.checkpoint as ocp

    self.wait()  # one write at a time, and errors of the last one
    self._damaged.discard(step)
    leaves = manifests.encode(tree)
    manifest = manifests.make(tree, leaves, extra)
    arrays = _numbered(leaves)
    items = {"manifest": ocp.args.JsonSave(manifest)}
    if arrays:
      items["tree"] = ocp.args.StandardSave(arrays)
    path = self.path(step)
    self._writer.save(path, args=ocp.args.Composite(**items), force=True)
    self._unpruned = True

  def wait(self) -> None:
    """Blocks until the last write is finished; raises if it failed."""
    self._writer.wait_until_finished()
    if self._unpruned:
      self._prune()

  def close(self) -> None:
    """Waits, then frees the writer's threads."""
    self.wait()
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
    self._unpruned = False


def _numbered(leaves: list) -> dict[str, Any]:
  """Leaves by number, without empty ones, which Orbax refuses."""
  return {f"{i:06d}": x for i, x in enumerate(leaves) if 0 not in x.shape}


def _damaged_if_raises(read):
  try:
    return read()
  # What a broken file makes Orbax or TensorStore raise is not documented.
  except Exception as error:
    reason = f"{type(error).__name__}: {str(error)[:200]}"
    raise DamagedError(reason) from error
