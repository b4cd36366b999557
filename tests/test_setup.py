"""What `pip install` installs, against what the code imports.

Pain 39 (reward-bench #225, #257, maxtext #2798): pins block and rot.
"""

import ast
import importlib.metadata
import pathlib
import re
import runpy
import sys
import tomllib
from unittest import mock

import pytest

import rewardjax
from experiments import readme_results

ROOT = pathlib.Path(__file__).parent.parent
# Import names that are not the name of the distribution.
DISTRIBUTIONS = {
    "absl": "absl-py",
    "array_record": "array-record",
    "ml_collections": "ml-collections",
    "math_verify": "math-verify",
    "orbax": "orbax-checkpoint",
    "reasoning_gym": "reasoning-gym",
    "tensorflow_datasets": "tensorflow-datasets",
    "yaml": "pyyaml",
}


@pytest.fixture(scope="module")
def arguments() -> dict:
  """What setup.py hands to setuptools."""
  with mock.patch("setuptools.setup") as setup:
    runpy.run_path(str(ROOT / "setup.py"))
  return setup.call_args.kwargs


def name_of(requirement: str) -> str:
  return re.match(r"[\w-]+", requirement).group()


def third_party(folder: str) -> set[str]:
  """Distributions imported anywhere below a folder."""
  modules = set()
  for path in (ROOT / folder).rglob("*.py"):
    if path.parent.name == "peers":
      continue  # they run in environments of their own
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Import):
        modules |= {alias.name.split(".")[0] for alias in node.names}
      elif isinstance(node, ast.ImportFrom):
        modules.add(node.module.split(".")[0])
  ours = {path.name for path in ROOT.iterdir()}
  modules -= ours | set(sys.stdlib_module_names)
  return {DISTRIBUTIONS.get(module, module) for module in modules}


def test_only_the_package_is_installed(arguments):
  packages = set(arguments["packages"])
  expected = {
      ".".join(path.parent.relative_to(ROOT).parts)
      for path in (ROOT / "rewardjax").rglob("__init__.py")
  }
  assert packages == expected


def test_every_sample_is_installed(arguments):
  folder = ROOT / "rewardjax/data/benchmarks"
  patterns = arguments["package_data"]["rewardjax.data.benchmarks"]
  installed = {path for x in patterns for path in folder.glob(x)}
  samples = {x for x in (folder / "samples").rglob("*") if x.is_file()}
  assert installed == samples


def test_the_version_is_said_once(arguments):
  assert arguments["version"] == rewardjax.__version__
  changes = (ROOT / "CHANGELOG.md").read_text()
  newest = re.search(r"^## \[(.+?)\]", changes, re.MULTILINE).group(1)
  assert newest == rewardjax.__version__


def test_the_licence_is_the_one_declared(arguments):
  assert arguments["license"] == "Apache-2.0"
  text = (ROOT / "LICENSE").read_text()
  assert "Version 2.0, January 2004" in text
  assert "END OF TERMS AND CONDITIONS" in text


def test_extras_add_up(arguments):
  core, extras = arguments["install_requires"], arguments["extras_require"]
  everything = set(extras["all"])
  for name, requirements in extras.items():
    assert set(requirements) <= everything, name
    names = [name_of(r) for r in requirements]
    assert len(set(names)) == len(names), f"{name} lists one twice"
    assert not set(names) & {name_of(r) for r in core}, name


def test_every_requirement_has_a_lower_bound_that_holds_here(arguments):
  requirements = arguments["install_requires"]
  requirements = [*requirements, *arguments["extras_require"]["all"]]
  number = lambda text: tuple(int(x) for x in re.findall(r"\d+", text)[:3])
  for requirement in requirements:
    name, bound = re.fullmatch(r"([\w-]+)>=([\d.]+).*", requirement).groups()
    assert number(importlib.metadata.version(name)) >= number(bound), name


def test_every_upper_bound_has_its_reason():
  lines = (ROOT / "setup.py").read_text().splitlines()
  bounded = [x for x in lines if re.search(r'"[\w-]+.*(<|==|!=|~=)', x)]
  assert not [line for line in bounded if "  # " not in line]


def test_the_package_imports_only_what_it_installs(arguments):
  extras = arguments["extras_require"]
  installed = {name_of(r) for r in arguments["install_requires"]}
  rooms = ("data", "models", "plots", "verifiers")
  optional = {name_of(r) for name in rooms for r in extras[name]}
  # Used if the user has them.
  optional |= {"cloudpickle", "wandb"}
  assert third_party("rewardjax") <= installed | optional


def test_nothing_is_installed_for_nothing(arguments):
  used = third_party("rewardjax") | third_party("experiments")
  assert {name_of(r) for r in arguments["install_requires"]} <= used


@pytest.mark.parametrize("folder", ["experiments", "configs", "benchmarks"])
def test_what_stands_beside_it_needs_no_more_than_the_extras(arguments, folder):
  extras = arguments["extras_require"]
  known = arguments["install_requires"] + extras["all"]
  assert third_party(folder) <= {name_of(r) for r in known}


def test_python_versions_agree(arguments):
  oldest = re.fullmatch(r">=3\.(\d+)", arguments["python_requires"]).group(1)
  settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
  assert settings["tool"]["ruff"]["target-version"] == f"py3{oldest}"


def test_ci_runs_the_command_of_the_readme():
  commands = [
      line
      for line in (ROOT / "README.md").read_text().splitlines()
      if "python -m pytest" in line
  ]
  assert len(commands) == 1
  assert commands[0] in (ROOT / ".ci/run").read_text().splitlines()


def test_readme_tables_are_those_of_the_results():
  """Nothing measured is typed: see experiments/readme_results.py."""
  assert readme_results.main([]) == 0
