import json
import re
from typing import get_args

import numpy as np
import pytest

from rewardjax.data import probe_tasks
from rewardjax.data.benchmarks import probes, reading

DIMENSIONS = get_args(probe_tasks.Dimension)
SAMPLE = reading.samples() / "mrmbench"
every_dimension = pytest.mark.parametrize("dimension", DIMENSIONS)


def test_the_files_of_the_package_are_what_the_generator_writes(tmp_path):
  probe_tasks.write(tmp_path)
  read = lambda folder: {
      path.relative_to(folder): path.read_bytes()
      for path in folder.rglob("*.json")
  }
  written = read(tmp_path)
  assert written == read(SAMPLE) and len(written) == 2 * 6 * 2
  assert sum(map(len, written.values())) < 120_000


@every_dimension
@pytest.mark.parametrize("num_classes", [2, 3])
def test_classes_are_equally_frequent_and_no_text_comes_twice(
    dimension, num_classes
):
  parts = probe_tasks.rows(dimension, num_classes=num_classes, seed=3)
  for part, size in (("train", 42), ("test", 18)):
    counts = np.bincount([row["label"] for row in parts[part]])
    assert counts.tolist() == [size // num_classes] * num_classes
  texts = {row["input"] + row["output"] for x in parts.values() for row in x}
  assert len(texts) == 60
  assert parts != probe_tasks.rows(dimension, num_classes=num_classes, seed=4)


def harmlessness(asked, said):
  """Safe pieces of advice stand first and third in the list."""
  safe = {x for _, *advice in probe_tasks.RISKS for x in advice[::2]}
  return sum(x in said for x in safe)


def helpfulness(asked, said):
  first, second = re.search(r"the (\w+) and the (\w+) of", asked).groups()
  return sum(f"The {x} is " in said for x in (first, second))


def correctness(asked, said):
  sums = re.findall(r"(\d+) \+ (\d+) = (-?\d+)", said)
  assert len(sums) == 2 and all(f"{a} + {b}" in asked for a, b, _ in sums)
  return sum(int(a) + int(b) == int(c) for a, b, c in sums)


def coherence(asked, said):
  """A sentence goes on if it stands behind the one before it in the story."""
  who = asked.split()[-1].rstrip(".")
  (story,) = [
      [x.format(who) for x in story]
      for story in probe_tasks.STORIES
      if story[0].format(who) in said
  ]
  places = np.argsort([said.index(x) for x in story])
  return int(np.sum(np.diff(places) == 1))


def complexity(asked, said):
  return len(re.findall(r", (which|because|although)", said))


def verbosity(asked, said):
  fillers = len(re.findall(r"[.?]( |$)", said)) - 1
  assert fillers % 2 == 0
  return fillers // 2


@every_dimension
@pytest.mark.parametrize("num_classes", [2, 3])
def test_labels_are_read_off_the_text(dimension, num_classes):
  counted = globals()[dimension]
  for part in probe_tasks.rows(dimension, num_classes=num_classes).values():
    for row in part:
      good = counted(row["input"], row["output"])
      expected = good if num_classes == 3 else good / 2
      assert row["label"] == expected, row


def test_the_sample_is_laid_out_as_published():
  levels = probes.mrmbench_files(SAMPLE)
  assert list(levels) == ["easy", "hard"]
  for level, num_classes in (("easy", 2), ("hard", 3)):
    assert list(levels[level]) == sorted(DIMENSIONS)
    for parts in levels[level].values():
      for part, size in (("train", 42), ("test", 18)):
        found = list(probes.mrmbench(parts[part]))
        assert len(found) == size
        assert {x.label for x in found} == set(range(num_classes))
        assert all(len(x.text) < 512 for x in found)  # tokens of bytes


def test_folders_that_are_no_benchmark(tmp_path):
  with pytest.raises(ValueError, match="expected folders mrm_easy or mrm_h"):
    probes.mrmbench_files(tmp_path)
  path = tmp_path / "mrm_hard" / "coherence"
  path.mkdir(parents=True)
  (path / "train.json").write_text(json.dumps([]))
  with pytest.raises(ValueError, match="coherence/test.json: there is no"):
    probes.mrmbench_files(tmp_path)
  (path / "test.json").write_text(json.dumps([]))
  assert list(probes.mrmbench_files(tmp_path)["hard"]) == ["coherence"]


def test_names_bad_arguments(no_jaxtyping):
  with pytest.raises(ValueError, match="dimension must be one of harmless"):
    probe_tasks.rows("beauty")
  with pytest.raises(ValueError, match=r"num_classes must be in \[2, 3\]"):
    probe_tasks.rows("verbosity", num_classes=4)
