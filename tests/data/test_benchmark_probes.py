import json

import pytest

from rewardjax.data.benchmarks import probes

ROWS = [
    {"input": "Is it? ", "output": "It is.", "label": 1},
    {"input": "And this? ", "output": "A long answer to it.", "label": 0},
]


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet"])
def test_the_public_format(ending, tmp_path):
  path = tmp_path / f"test.{ending}"
  if ending == "json":
    path.write_text(json.dumps(ROWS, indent=1))
  elif ending == "jsonl":
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
  else:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
  found = list(probes.mrmbench(path))
  assert found == [
      ("Is it? It is.", 1), ("And this? A long answer to it.", 0)
  ]


def test_long_texts_are_dropped(tmp_path):
  path = tmp_path / "test.json"
  path.write_text(json.dumps(ROWS))
  words = lambda text: len(text.split())
  count = lambda most: len(list(
      probes.mrmbench(path, count_tokens=words, max_tokens=most)
  ))
  assert [count(most) for most in (3, 4, 7)] == [0, 1, 2]


@pytest.mark.parametrize(
    "text, message",
    [
        ("{}", r"rows.json:1: field 'input' is missing"),
        ("[1]", r"rows.json, row 1: expected an object"),
        ("[", r"rows.json, row 1: Expecting value"),
        ('[{"input": "a", "output": "b"}]', r"row 1: field 'label' is missing"),
        ('[{"input": 1, "output": "b", "label": 0}]', r"'input' must be a str"),
        ('[{"input": "a", "output": "b", "label": -1}]', r"at least 0, got -1"),
        ('[{"input": "a", "output": "b", "label": "x"}]', r"'label' must be"),
    ],
)
def test_errors_name_file_row_and_field(text, message, tmp_path):
  path = tmp_path / "rows.json"
  path.write_text(text)
  with pytest.raises(ValueError, match=message):
    list(probes.mrmbench(path))
