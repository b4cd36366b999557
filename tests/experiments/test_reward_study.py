import pytest

from experiments import reward_study
from tests.experiments import study_files

NAMES = tuple(reward_study.STUDIES)


@pytest.mark.usefixtures("drawn_lightly")
@pytest.mark.parametrize("name", NAMES)
def test_tiny_study_writes_its_files(name, tmp_path, capsys):
  study_files.check_files(
      reward_study.run, "reward_study", name, tmp_path, capsys
  )


@pytest.mark.parametrize("name", NAMES)
def test_config_names_its_study_and_refuses_other_sizes(name):
  study_files.check_config("reward_study", name)
