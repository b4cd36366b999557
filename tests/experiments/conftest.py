"""What several tests of `experiments.rlvr` share."""

import pytest

from tests import light_keys
from tests.experiments import killed_runs, rlvr_runs


@pytest.fixture
def drawn_lightly():
  """Keys whose bits compile quickly."""
  with light_keys.used():
    yield


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
  """Where problems are prepared, once."""
  return str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
  """The path of a tiny random model with a tokenizer."""
  return rlvr_runs.write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def go(checkpoint, data_dir, tmp_path_factory):
  """Runs a tiny pretrained model; returns the rows and the folder."""

  def run(workdir=None, **options):
    workdir = workdir or tmp_path_factory.mktemp("run")
    kept = {k: options.pop(k) for k in ("stop", "write") if k in options}
    config = rlvr_runs.pretrained_config(checkpoint, **options)
    rlvr_runs.run(config, workdir, data_dir, **kept)
    return rlvr_runs.rows_of(workdir), workdir

  return run


@pytest.fixture(scope="session")
def adapted(go):
  """Such a run with adapters, all agents at once, and its report."""
  return go(write=None)


@pytest.fixture(scope="session")
def judged_by_tokens(go):
  """The same, judged on tokens by a verifier that errs."""
  return go(**rlvr_runs.TOKENS)


@pytest.fixture(scope="session")
def resumable(data_dir, tmp_path_factory):
  """A run whose loops are resumed: its folder, and the loops' names."""
  workdir = tmp_path_factory.mktemp("whole")
  with killed_runs.resumed(tmp_path_factory.mktemp("resumed")) as stages:
    rlvr_runs.run(killed_runs.resumable_config(), workdir, data_dir)
  return workdir, stages
