import pathlib
import re

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "noise.md"


def test_snippets_of_the_page_run_in_sequence():
  code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
  assert len(code) > 8
  exec(compile("\n".join(code), str(PAGE), "exec"), {})


def test_tests_that_the_page_names_exist():
  named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
  here = pathlib.Path(__file__).parent.glob("test_*.py")
  defined = set(re.findall(r"^def (test_\w+)", "".join(
      path.read_text() for path in here
  ), re.MULTILINE))
  assert len(named) > 20 and named <= defined, named - defined
