"""What every study of a command has to write."""

import importlib
import json

import pytest

from experiments import results


def config_of(command, name, size="tiny"):
  module = importlib.import_module(f"configs.{command}.{name}")
  return module.get_config(size)


def check_files(run, command, name, folder, capsys):
  config = config_of(command, name)
  study = run(config, folder / "run", folder / "results")
  made = folder / "run"
  assert json.loads((made / "config.json").read_text())["study"] == name
  lines = (made / "metrics.jsonl").read_text().splitlines()
  assert json.loads(lines[-1])["final"] is True
  assert "<h1>" in (made / "report.html").read_text()
  drawn = {path.stem for path in (made / "figures").glob("*.png")}
  assert drawn == set(study.figures)
  kept = results.load_results(folder / "results")[config.slug]
  assert kept.passed == study.passed and kept.criterion == study.criterion
  assert f"configs/{command}/{name}.py" in kept.command
  assert study.title in capsys.readouterr().out


def check_config(command, name):
  config = config_of(command, name, "small")
  assert config.study == name
  assert config.options.num_seeds >= 5
  assert config.slug.startswith((f"{command}_", name))
  with pytest.raises(ValueError, match="'small' or 'tiny', got 'huge'"):
    config_of(command, name, "huge")
