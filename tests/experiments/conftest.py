"""What several tests of `experiments.rlvr` share."""

import pytest

from experiments import rlvr, rlvr_report
from tests import light_keys
from tests.experiments import rlvr_runs


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

  def run(workdir=None, *, report=False, stop=lambda: False, **changes):
    workdir = workdir or tmp_path_factory.mktemp("run")
    config = rlvr_runs.pretrained_config(checkpoint, **changes)
    with pytest.MonkeyPatch.context() as patch:
      if not report:  # figures take their time
        patch.setattr(rlvr_report, "write", lambda *args, **options: None)
      rlvr.run(config, workdir, data_dir=data_dir, stop=stop, progress=False)
    return rlvr_runs.rows_of(workdir), workdir

  return run


@pytest.fixture(scope="session")
def adapted(go):
  """Such a run with adapters, all agents at once, and its report."""
  return go(report=True)


@pytest.fixture(scope="session")
def judged_by_tokens(go):
  """The same, judged on tokens by a verifier that errs."""
  return go(**rlvr_runs.TOKENS)
