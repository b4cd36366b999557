"""Generates a data set once, under a directory, and finds it again."""

import contextlib
import hashlib
import io
import json
import os
import pathlib
from typing import Any

import tensorflow_datasets as tfds


def default_data_dir() -> pathlib.Path:
  """`rewardjax` under the user's cache directory."""
  cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  return pathlib.Path(cache) / "rewardjax" / "data"


def fingerprint(**values: Any) -> str:
  """A short name for what a data set is made of.

  tfds finds a finished data set by its name alone: two configurations that
  share a name would silently share their rows.
  """
  text = json.dumps(values, sort_keys=True, default=str)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def prepare(
    builder_class: type[tfds.core.GeneratorBasedBuilder],
    config: tfds.core.BuilderConfig,
    data_dir: str | os.PathLike | None = None,
) -> tfds.core.GeneratorBasedBuilder:
  """Returns a builder whose rows are on disk; generates them if they are not.

  tfds writes beside the final directory and renames at the end: whoever is
  killed on the way leaves nothing that looks finished, and of two processes
  that generate the same rows at once either may win.

  Args:
    builder_class: a class of `rewardjax.data.builders`.
    config: its configuration, whose name tells its contents apart.
    data_dir: where; None means `default_data_dir()`.
  """
  data_dir = default_data_dir() if data_dir is None else data_dir
  make = lambda: builder_class(
      config=config, data_dir=os.fspath(data_dir), file_format="array_record"
  )
  # Its chatter would be among the first lines a user sees.
  with contextlib.redirect_stdout(io.StringIO()):
    builder = make()
    try:
      builder.download_and_prepare()
    except OSError:
      builder = make()  # did another process finish first?
      if not builder.is_prepared():
        raise
  return builder
