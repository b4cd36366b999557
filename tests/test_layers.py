"""Which room may import which, read from the source of every module."""

import ast
import pathlib
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "rewardjax"
FILES = sorted(PACKAGE.rglob("*.py"))

STAGES = {
    "advantages",
    "diagnostics",
    "diffusion",
    "environments",
    "gflownets",
    "noise",
    "objectives",
    "policies",
    "reward_models",
    "rewards",
    "search",
    "shaping",
}
FOUNDATION = {"core", "lazy", "outcomes", "types"}
# What each room may import beside itself.
ALLOWED = {
    "__init__": {"lazy"},
    "lazy": set(),
    "outcomes": set(),
    "types": {"outcomes"},
    "core": {"lazy", "types"},
    "recipes": FOUNDATION | STAGES | {"models", "data", "training"},
    **{room: FOUNDATION for room in STAGES | {"models", "data", "training"}},
}
# Slow to import, or not installed with the package itself.
HEAVY = {
    "gguf",
    "grain",
    "jinja2",
    "matplotlib",
    "orbax",
    "pyarrow",
    "safetensors",
    "tensorboardX",
    "tensorflow_datasets",
    "tokenizers",
    "wandb",
}
# A builder is a subclass, so its module cannot import tfds lazily; in return
# nobody may import the folder without need (tests/test_import.py).
MAY_BE_HEAVY = {"data/builders": {"tensorflow_datasets"}}


class Import(NamedTuple):
  file: str  # below rewardjax/
  module: str  # dotted
  lazy: bool  # inside a function


def read_imports(source: str, file: str) -> list[Import]:
  found = []

  def visit(node, lazy):
    if isinstance(node, ast.Import):
      found.extend(Import(file, alias.name, lazy) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{file}: imports are absolute here."
      # `from rewardjax import noise` reaches the room `noise`.
      found.extend(
          Import(file, f"{node.module}.{alias.name}", lazy)
          for alias in node.names
      )
    inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for child in ast.iter_child_nodes(node):
      visit(child, inside)

  visit(ast.parse(source), False)
  return found


def complaints(imports: list[Import]) -> list[str]:
  """What is wrong with them, one line each."""
  wrong = []
  for file, module, lazy in imports:
    room = file.split("/")[0].removesuffix(".py")
    top, *rest = module.split(".")
    folder = file.rpartition("/")[0]
    if top == "rewardjax" and rest and rest[0] != "__version__":
      if rest[0] not in ALLOWED[room] | {room}:
        wrong.append(f"{file}: {room} must not import {module}.")
    elif top in ("experiments", "configs", "benchmarks", "tests"):
      wrong.append(f"{file}: the package must not import {module}.")
    elif top == "tensorflow":
      wrong.append(f"{file}: tensorflow is never imported.")
    elif top in HEAVY - MAY_BE_HEAVY.get(folder, set()) and not lazy:
      wrong.append(f"{file}: import {module} inside the function.")
  return wrong


def imports_of_package() -> list[Import]:
  found = []
  for path in FILES:
    name = path.relative_to(PACKAGE).as_posix()
    found += read_imports(path.read_text(), name)
  return found


def test_every_room_has_its_rule():
  rooms = {path.relative_to(PACKAGE).parts[0] for path in FILES}
  assert {room.removesuffix(".py") for room in rooms} <= set(ALLOWED)


def test_the_package_keeps_to_its_layers():
  assert complaints(imports_of_package()) == []


def test_nothing_imports_tensorflow():
  for folder in ("experiments", "configs", "benchmarks"):
    for path in (ROOT / folder).rglob("*.py"):
      for found in read_imports(path.read_text(), str(path)):
        assert found.module.split(".")[0] != "tensorflow", found


@pytest.mark.parametrize(
    "file, source, message",
    [
        ("noise/a.py", "from rewardjax.advantages import group", "noise must"),
        ("noise/a.py", "from rewardjax import rewards", "noise must not"),
        ("noise/a.py", "import rewardjax.models.heads", "noise must not"),
        ("core/a.py", "def f():\n  import rewardjax.noise", "core must not"),
        ("types.py", "from rewardjax.core import masking", "types must not"),
        ("data/a.py", "from rewardjax.policies import laws", "data must not"),
        ("training/a.py", "from experiments import rlvr", "the package must"),
        ("models/a.py", "import matplotlib.pyplot", "inside the function"),
        ("data/a.py", "import tensorflow_datasets", "inside the function"),
        ("data/a.py", "def f():\n  import tensorflow", "never imported"),
    ],
)
def test_each_breach_is_found(file, source, message):
  (found,) = complaints(read_imports(source, file))
  assert message in found


@pytest.mark.parametrize(
    "file, source",
    [
        ("noise/a.py", "from rewardjax.noise import b"),
        ("noise/a.py", "from rewardjax.core import masking"),
        ("noise/a.py", "from rewardjax.types import NoiseRates"),
        ("recipes/a.py", "from rewardjax.noise import channels"),
        ("training/a.py", "def f():\n  import matplotlib.pyplot"),
        ("data/builders/a.py", "import tensorflow_datasets as tfds"),
    ],
)
def test_what_is_allowed_is_left_alone(file, source):
  assert complaints(read_imports(source, file)) == []


def configures_jax(source: str) -> bool:
  return any(
      isinstance(node, ast.Call)
      and ast.unparse(node.func).endswith("config.update")
      for node in ast.walk(ast.parse(source))
  )


def test_the_package_never_configures_jax():
  assert configures_jax("import jax\njax.config.update('jax_enable_x64', 1)")
  assert not [path for path in FILES if configures_jax(path.read_text())]
