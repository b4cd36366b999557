import json

import numpy as np
import pytest

from rewardjax.data.benchmarks import lists, reading, scores

SAMPLE = reading.sample("rewardbench2")


def rows():
  return lists.rewardbench2(SAMPLE)


def score(prompts, completions, **columns):
  """Depends on nothing but the pair."""
  assert len(prompts) == len(completions) == len(columns["meta"])
  return [len(c) / 7 - len(p) / 3 for p, c in zip(prompts, completions)]


def test_the_batch_size_changes_nothing(tmp_path):
  found, files = [], []
  for size in (1, 2, 3, 7, 1000):
    path = tmp_path / f"{size}.jsonl"
    found.append(list(scores.score_rows(score, rows(), path, batch_size=size)))
    files.append(path.read_bytes())
  assert all(x == found[0] for x in found)
  assert len(set(files)) == 1
  expected = [
      tuple(score([r.prompt] * len(r.texts), r.texts, meta=[{}] * len(r.texts)))
      for r in rows()
  ]
  assert [row.scores for row in found[0]] == expected
  assert list(scores.read_scores(path)) == found[0]


def test_batches_are_full_across_rows(tmp_path):
  sizes = []

  def counted(prompts, completions, **columns):
    sizes.append(len(prompts))
    return [0.0] * len(prompts)

  done = scores.score_rows(counted, rows(), tmp_path / "s.jsonl", batch_size=10)
  total = sum(len(row.scores) for row in done)
  assert sizes == [10] * (total // 10) + [total % 10]


class Stop(Exception):
  pass


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_run_that_was_stopped_goes_on(after, tmp_path):
  whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
  list(scores.score_rows(score, rows(), whole, batch_size=5))
  seen = []

  def stops(prompts, completions, **columns):
    seen.append(completions)
    if len(seen) > after:
      raise Stop
    return score(prompts, completions, **columns)

  with pytest.raises(Stop):
    list(scores.score_rows(stops, rows(), part, batch_size=5))
  before = part.read_bytes()
  assert whole.read_bytes().startswith(before) and before != whole.read_bytes()
  kept = before.count(b"\n")
  asked = []

  def asks(prompts, completions, **columns):
    asked.extend(completions)
    return score(prompts, completions, **columns)

  resumed = list(scores.score_rows(asks, rows(), part, batch_size=3))
  assert part.read_bytes() == whole.read_bytes()
  assert resumed == list(scores.read_scores(whole))
  # What was kept is not scored again.
  assert asked == [text for row in list(rows())[kept:] for text in row.texts]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_was_cut_is_written_again(cut, tmp_path):
  whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
  list(scores.score_rows(score, rows(), whole))
  part.write_bytes(whole.read_bytes()[:-cut])
  list(scores.score_rows(score, rows(), part))
  assert part.read_bytes() == whole.read_bytes()


def test_a_long_cut_line_and_one_without_any_end(tmp_path):
  path = tmp_path / "s.jsonl"
  path.write_bytes(b"x" * 200_000)
  list(scores.score_rows(score, rows(), path))
  assert len(list(scores.read_scores(path))) == 10
  whole = path.read_bytes()
  path.write_bytes(whole + b"y" * 200_000)
  list(scores.score_rows(score, rows(), path))
  assert path.read_bytes() == whole


def test_the_cut_line_of_a_large_file(tmp_path):
  path = tmp_path / "s.jsonl"
  large = [row._replace(group="g" * 30_000) for row in rows()]
  list(scores.score_rows(score, large, path))
  whole = path.read_bytes()
  for end in (b"y", b"y" * 70_000):
    path.write_bytes(whole + end)
    list(scores.score_rows(score, large, path))
    assert path.read_bytes() == whole


def test_scores_of_other_data_are_not_taken(tmp_path):
  path = tmp_path / "s.jsonl"
  list(scores.score_rows(score, list(rows())[:2], path))
  with pytest.raises(ValueError, match="'Factuality/0', where .*lity/1'"):
    list(scores.score_rows(score, list(rows())[1:], path))
  with pytest.raises(ValueError, match="where the data have None"):
    list(scores.score_rows(score, list(rows())[:1], path))
  path.write_text("{}\n" + path.read_text())
  with pytest.raises(ValueError, match=r"s\.jsonl:1: no row of scores"):
    list(scores.score_rows(score, rows(), path))


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf"), "x", [1, 2]])
def test_a_score_that_is_none_names_its_row(bad, tmp_path):
  """Pain 39: reward-bench #257, scores of None after an upgrade."""

  def sometimes(prompts, completions, **columns):
    return [bad if "Mars" in c else 1.0 for c in completions]

  path = tmp_path / "s.jsonl"
  with pytest.raises(ValueError, match="row 'Factuality/0': .*finite numbers"):
    list(scores.score_rows(sometimes, rows(), path))
  assert path.read_text() == ""


def test_arrays_of_any_shape_are_numbers(tmp_path):
  arrays = lambda p, c, **columns: np.array(score(p, c, **columns))[:, None]
  plain = list(scores.score_rows(score, rows(), tmp_path / "a"))
  found = list(scores.score_rows(arrays, rows(), tmp_path / "b"))
  assert found == plain
  json.loads((tmp_path / "b").read_text().splitlines()[0])


def test_names_bad_arguments(tmp_path):
  short = lambda p, c, **columns: [0.0]
  with pytest.raises(ValueError, match="gave 1 scores for 32 texts"):
    list(scores.score_rows(short, rows(), tmp_path / "a"))
  with pytest.raises(ValueError, match="batch_size must be in"):
    list(scores.score_rows(score, rows(), tmp_path / "a", batch_size=0))
