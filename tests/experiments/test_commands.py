"""A mistyped flag is one line that names the field and the choices."""

import os
import pathlib
import re
import sys

import pytest
from absl import app

from experiments import commands


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--config.nope=1", r"config\.nope is no field; choose from .*seed"),
        ("--config.task.kindz=1", r"config\.task\.kindz is no field; .*kinds"),
        ("--config.seed.x=1", r"config\.seed\.x is no field; choose from"),
    ],
)
def test_unknown_fields(monkeypatch, flag, message):
  def fail(argv):
    raise AttributeError(argv[-1])

  monkeypatch.setattr(app, "parse_flags_with_usage", fail)
  argv = ["rlvr", "--config=configs/rlvr/base.py:tiny", flag]
  with pytest.raises(SystemExit, match=message) as error:
    commands.parse_flags(argv)
  assert "\n" not in str(error.value)


def test_what_is_right_passes(monkeypatch):
  monkeypatch.setattr(app, "parse_flags_with_usage", lambda argv: argv[1:])
  assert commands.parse_flags(["rlvr", "--config.seed=1"]) == [
      "--config.seed=1"
  ]


def test_a_command_starts_anew_once_to_keep_its_memory(monkeypatch):
  """With its own arguments, and never against the user's own setting."""
  calls = []
  monkeypatch.setattr(os, "execve", lambda *call: calls.append(call))
  monkeypatch.setattr(sys, "platform", "linux")
  monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
  commands.keep_freed_memory()
  (program, argv, environment), *more = calls
  assert (program, argv) == (sys.executable, sys.orig_argv) and not more
  assert "trim_threshold" in environment["GLIBC_TUNABLES"]
  monkeypatch.setenv("GLIBC_TUNABLES", "")
  commands.keep_freed_memory()
  monkeypatch.setattr(sys, "platform", "darwin")
  monkeypatch.delenv("GLIBC_TUNABLES")
  commands.keep_freed_memory()
  assert len(calls) == 1


def test_help_shows_flags_that_other_modules_define():
  """--help lists the flags of the command's own module, and what it adopts."""
  folder = pathlib.Path(commands.__file__).parent
  seen = []
  for path in folder.glob("*.py"):
    _, _, started = path.read_text().partition('if __name__ == "__main__":')
    for module in re.findall(r"(\w+)\.define_flags\(", started):
      assert f"adopt_module_key_flags({module})" in started, path.name
      assert re.search(r"^from absl import .*\bflags\b", path.read_text(), re.M)
      seen.append(path.stem)
  assert {"audit_verifier", "noise_study", "tournament"} <= set(seen)
