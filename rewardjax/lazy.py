"""Packages whose modules are imported on first use."""

import importlib
from collections.abc import Callable, Iterable
from typing import Any


def attach(
    package: str, modules: Iterable[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
  """`__getattr__` and `__dir__` of a package; assign both in its `__init__`."""
  modules = frozenset(modules)

  def load(name: str):
    if name in modules:
      return importlib.import_module(f"{package}.{name}")
    raise AttributeError(f"module {package!r} has no attribute {name!r}")

  return load, lambda: sorted(modules)
