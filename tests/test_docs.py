"""What the pages say must run, and what they name must exist.

Pain 41 (imitation #752, dynamo #14571, verl #755): documentation drifts.
"""

import ast
import collections
import importlib
import importlib.util
import inspect
import os
import pathlib
import re
import subprocess
import sys

import pytest

from experiments.methods import METHODS

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
ROOMS = sorted(p.name for p in (ROOT / "rewardjax").iterdir() if p.is_dir())
FOLDERS = (
    "benchmarks",
    "colabs",
    "configs",
    "docs",
    "experiments",
    "rewardjax",
    "tests",
)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)


def fenced(text: str, *languages: str) -> list[str]:
  """The code blocks of the given languages."""
  blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
  return [code for language, code in blocks if language in languages]


def paths_in(text: str) -> set[str]:
  folders = "|".join(FOLDERS)
  found = re.findall(rf"(?<![\w./-])(?:{folders})/[\w./*-]*", text)
  return {path.rstrip(".") for path in found}


def links_in(text: str) -> set[str]:
  """Targets of Markdown links to files of the repository."""
  targets = re.findall(r"\]\(([^)\s]+)\)", text)
  return {t.split("#")[0] for t in targets if "://" not in t} - {""}


def names_in(text: str) -> set[str]:
  """Dotted names in backticks that start at the package or at a room."""
  prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
  rooms = "|".join(ROOMS)
  pattern = rf"`((?:rewardjax\.)?(?:{rooms}|types)(?:\.\w+)+)(?:\(.*?\))?`"
  found = re.findall(pattern, prose)
  return {
      name.removeprefix("rewardjax.")
      for name in found
      if not name.endswith((".py", ".md"))
  }


def resolve(name: str):
  """The object behind a dotted name below `rewardjax`."""
  module, rest = "rewardjax", name.split(".")
  while rest and importlib.util.find_spec(f"{module}.{rest[0]}"):
    module = f"{module}.{rest.pop(0)}"
    if not hasattr(importlib.import_module(module), "__path__"):
      break  # a module, not a package: attributes follow
  found = importlib.import_module(module)
  for attribute in rest:
    found = getattr(found, attribute)
  return found


@every_page
def test_python_snippets_run(page, tmp_path):
  """In order, in one process, away from the repository."""
  snippets = fenced(page.read_text(), "python", "py")
  if not snippets:
    return
  script = tmp_path / "snippets.py"
  script.write_text("\n".join(snippets))
  done = subprocess.run(
      [sys.executable, str(script)],
      cwd=tmp_path,
      env=os.environ | {"PYTHONPATH": str(ROOT)},
      capture_output=True,
      text=True,
      timeout=300,
  )
  assert done.returncode == 0, done.stderr


@every_page
def test_commands_name_modules_that_exist(page):
  commands = re.findall(r"python -m ([\w.]+)", page.read_text())
  for module in set(commands):
    assert importlib.util.find_spec(module), f"python -m {module}"


@every_page
def test_files_exist(page):
  text = page.read_text()
  for path in paths_in(text):
    assert any(ROOT.glob(path)), path
  for link in links_in(text):
    assert (page.parent / link).exists(), link


@every_page
def test_public_names_exist(page):
  for name in names_in(page.read_text()):
    assert resolve(name) is not None, name


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.slug)
def test_rows_name_what_exists(method):
  for name in method.functions:
    assert callable(resolve(name)), name
  for path in (*method.tests, *method.configs):
    assert (ROOT / path).is_file(), path


def test_every_recipe_has_its_row():
  listed = {name for method in METHODS for name in method.functions}
  for room in ("policy_gradient", "actor_critic"):
    module = resolve(f"recipes.{room}")
    for name, function in inspect.getmembers(module, inspect.isfunction):
      if function.__module__ == module.__name__:
        assert f"recipes.{room}.{name}" in listed, name


def public_functions() -> dict[str, ast.FunctionDef]:
  """Functions, classes and methods without an underscore, by dotted name."""
  found = {}
  for path in (ROOT / "rewardjax").rglob("*.py"):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)

    def visit(prefix, node):
      for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
          if not child.name.startswith("_"):
            found[f"{prefix}.{child.name}"] = child
            if isinstance(child, ast.ClassDef):
              visit(f"{prefix}.{child.name}", child)

    visit(module, ast.parse(path.read_text()))
  return found


def test_everything_public_has_a_docstring():
  bare = [name for name, x in public_functions().items() if not _documented(x)]
  assert not bare


def _documented(node) -> bool:
  # A setter repeats its property.
  return bool(ast.get_docstring(node) or node.decorator_list)


def test_everything_public_is_used():
  """By name: in a test, or more than once in the code, its `def` included."""
  words = lambda folder: collections.Counter(
      word
      for path in (ROOT / folder).rglob("*.py")
      for word in re.findall(r"\w+", path.read_text())
  )
  tests, code = words("tests"), words("rewardjax")
  code += words("experiments") + words("benchmarks")
  unused = []
  for name, node in public_functions().items():
    short = name.rpartition(".")[2]
    if isinstance(node, ast.FunctionDef) and not tests[short]:
      unused += [name] if code[short] < 2 else []
  assert not unused


def test_pages_are_read_as_intended():
  text = "\n".join([
      "See [here](docs/noise.md#why), `core.masking.Mean` and",
      "`rewardjax.core.masking.count(x)`, configs/rlvr/*.py, tests/x.py.",
      "```python",
      "a = 1",
      "```",
      "```bash",
      "ls",
      "```",
  ])
  assert fenced(text, "python") == ["a = 1\n"]
  assert paths_in(text) == {"docs/noise.md", "configs/rlvr/*.py", "tests/x.py"}
  assert links_in(text) == {"docs/noise.md"}
  assert names_in(text) == {"core.masking.Mean", "core.masking.count"}
  assert resolve("core.masking.Mean.of")
  with pytest.raises(AttributeError):
    resolve("core.masking.nothing")
