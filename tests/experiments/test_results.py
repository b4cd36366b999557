import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import results

ROW = dict(name="raw", metric="accuracy", mean=0.5, low=0.4, high=0.6, n=5)
FIELDS = dict(
    title="A title",
    command="python -m experiments.noise_study",
    criterion="raw < clean",
    passed=True,
    rows=[ROW],
    note="95 % Student-t intervals.",
    unit="seeds",
)


def test_what_is_written_is_read_back(tmp_path):
  path = results.write_result("some_slug", folder=tmp_path / "new", **FIELDS)
  assert path == tmp_path / "new" / "some_slug.json"
  loaded = results.load_results(path.parent)
  assert list(loaded) == ["some_slug"]
  result = loaded["some_slug"]
  assert result.rows == (results.Row(**ROW),)
  assert result._replace(rows=[ROW])._asdict() == FIELDS | {"slug": "some_slug"}
  assert [p.name for p in path.parent.iterdir()] == ["some_slug.json"]


def test_the_file_is_plain_json_with_the_documented_fields(tmp_path):
  path = results.write_result("slug", folder=tmp_path, **FIELDS)
  record = json.loads(path.read_text())
  assert record == FIELDS | {"slug": "slug"}


def test_rows_may_be_records_and_numbers_those_of_numpy_and_jax(tmp_path):
  row = results.Row(
      "a", "m", np.float32(0.5), jnp.asarray(0.25), np.float64(1), np.int64(3)
  )
  fields = FIELDS | dict(rows=[row], passed=None)
  path = results.write_result("slug", folder=tmp_path, **fields)
  (read,) = results.load_results(tmp_path)["slug"].rows
  assert read == results.Row("a", "m", 0.5, 0.25, 1.0, 3)
  assert json.loads(path.read_text())["passed"] is None


def test_results_come_in_alphabetical_order(tmp_path):
  for slug in ("b", "a", "c"):
    results.write_result(slug, folder=tmp_path, **FIELDS)
  assert list(results.load_results(tmp_path)) == ["a", "b", "c"]
  assert results.load_results(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(slug="Not A Slug"), "slug must be lower case"),
        (dict(slug="../up"), "slug must be lower case"),
        (dict(title=" "), "title must be a non-empty string"),
        (dict(command=""), "command must be a non-empty string"),
        (dict(passed=1), "passed must be True, False or None, got 1"),
        (dict(note=None), "note must be a string"),
        (dict(unit=""), "unit must be a non-empty string"),
        (dict(rows=[]), "rows must not be empty"),
        (dict(rows=[ROW, ROW]), "two rows share name and metric"),
        (dict(rows=[ROW | dict(mean=0.7)]), "row 0: expected low <= mean"),
        (dict(rows=[ROW | dict(high=np.nan)]), "high must be finite"),
        (dict(rows=[ROW | dict(n=0)]), "n must be a count >= 1, got 0"),
        (dict(rows=[ROW | dict(n=2.5)]), "n must be a count >= 1, got 2.5"),
        (dict(rows=[ROW | dict(name="")]), "name must be a non-empty"),
        (dict(rows=[ROW | dict(std=1.0)]), r"row 0: unknown \['std'\]"),
        (dict(rows=[{"name": "a"}]), r"missing \['high', 'low', 'mean'"),
        (dict(seed=0), r"result 'slug': unknown \['seed'\]"),
    ],
)
def test_what_is_wrong_is_named(change, message):
  with pytest.raises(ValueError, match=message):
    results.parse_result({"slug": "slug", **FIELDS, **change})


def test_a_refused_result_leaves_the_old_file(tmp_path):
  path = results.write_result("slug", folder=tmp_path, **FIELDS)
  before = path.read_text()
  with pytest.raises(ValueError, match="rows must not be empty"):
    results.write_result("slug", folder=tmp_path, **FIELDS | dict(rows=[]))
  assert path.read_text() == before


def test_a_broken_file_is_named(tmp_path):
  path = results.write_result("slug", folder=tmp_path, **FIELDS)
  path.rename(tmp_path / "other.json")
  with pytest.raises(ValueError, match="other.json: its slug is 'slug'"):
    results.load_results(tmp_path)
  (tmp_path / "other.json").write_text("{")
  with pytest.raises(ValueError, match="other.json: Expecting"):
    results.load_results(tmp_path)


def test_the_committed_results_are_valid():
  for result in results.load_results().values():
    assert result.command.startswith("python -m experiments.")
