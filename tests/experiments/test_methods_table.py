import ast
import shlex

import pytest

from configs.rlvr import base
from experiments import methods_table, rlvr_config
from experiments.methods import METHODS, Method
from experiments.results import Result, Row

PARTS = ("core.masking.count",)
ROWS = (
    Method("aa", "Aa", "Paper A", PARTS, ("t.py",), "It."),
    Method("aa_b", "Ab", "Paper B", PARTS, (), "B.", results=("z",)),
)


def result(slug, passed=True):
  row = Row("raw|x", "accuracy", 0.123456, 0.1, 0.2, 5)
  return Result(slug, "Title", "python -m x", "raw > 0", passed, (row,), "CI.")


@pytest.mark.parametrize(
    "slug, expected",
    [("aa", "aa"), ("aa_c", "aa"), ("aa_b", "aa_b"), ("aa_b_1", "aa_b")]
    + [("z_1", "aa_b"), ("aab", None), ("b", None)],
)
def test_a_result_belongs_to_the_longest_fitting_row(slug, expected):
  found = methods_table.owner(slug, ROWS)
  assert (found and found.slug) == expected


def test_a_page_by_hand():
  results = {slug: result(slug) for slug in ("aa", "aa_c")}
  results["z"] = result("z", passed=None)
  page = methods_table.render(ROWS, results)
  first = "| [Aa](#aa) | Paper A | `core.masking.count` | 2 of 2 criteria met |"
  assert first in page
  assert "| [Ab](#aa_b) | Paper B | `core.masking.count` | see below |" in page
  assert page.count("Title: criterion met. raw > 0") == 2
  assert "Title: nothing was to be decided. raw > 0" in page
  assert page.count(r"| raw\|x | accuracy | 0.1235 | 0.1 to 0.2 | 5 |") == 3


def test_a_missed_criterion_is_not_hidden():
  page = methods_table.render(ROWS, {"aa": result("aa", passed=False)})
  assert "0 of 1 criteria met" in page and "**criterion not met**" in page
  assert "not measured |" in page


def test_a_result_without_a_row_is_an_error():
  with pytest.raises(ValueError, match="docs/results/b.json belongs to no row"):
    methods_table.render(ROWS, {"b": result("b")})


def test_slugs_are_unique():
  assert len({method.slug for method in METHODS}) == len(METHODS)


def test_the_committed_page_is_up_to_date():
  """Pain 41 (imitation #752, dynamo #14571): documentation drifts."""
  assert methods_table.PAGE.read_text() == methods_table.render(), (
      "run: python -m experiments.methods_table --write"
  )


def test_the_command_writes_and_checks_the_page(tmp_path, monkeypatch):
  monkeypatch.setattr(methods_table, "PAGE", tmp_path / "methods.md")
  with pytest.raises(SystemExit, match="out of date"):
    methods_table.main([])
  methods_table.main(["--write"])
  methods_table.main([])
  assert (tmp_path / "methods.md").read_text() == methods_table.render()


def test_configs_are_found_by_slug_and_then_as_listed(tmp_path):
  for folder in ("rlvr", "noise_study"):
    (tmp_path / "configs" / folder).mkdir(parents=True)
    (tmp_path / "configs" / folder / "aa.py").touch()
  row = ROWS[0]._replace(configs=("configs/rlvr/aa.py", "configs/x.py"))
  expected = ["configs/noise_study/aa.py", "configs/rlvr/aa.py", "configs/x.py"]
  assert methods_table.configs_of(row, tmp_path) == expected


def read(text):
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


@pytest.mark.parametrize(
    "method", [x for x in METHODS if x.switch], ids=lambda x: x.slug
)
def test_what_switches_a_method_on_is_a_valid_config(method):
  config = base.get_config()
  for field in method.switch:
    path, _, value = field.partition("=")
    *parents, name = path.split(".")
    section = config
    for parent in parents:
      section = section[parent]
    assert name in section
    section[name] = read(value)
  rlvr_config.arm_configs(config)
  flags = [f"--config.{field}" for field in method.switch]
  assert shlex.join(flags) in methods_table.render((method,), {})
