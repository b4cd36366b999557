import json
import tracemalloc

import pytest

from rewardjax.data import jsonl


@pytest.fixture
def write(tmp_path):
  def write(*lines):
    path = tmp_path / "rows.jsonl"
    lines = [x if isinstance(x, bytes) else x.encode() for x in lines]
    path.write_bytes(b"\n".join(lines))
    return path

  return write


def test_reads_and_renames_columns(write):
  path = write(
      '\ufeff{"question": "½?", "solution": 0.50, "level": 1, "tags": ["a"]}',
      "",
      '{"question": "1+1", "solution": "2", "level": 2.5, "tags": {}}',
  )
  rows = jsonl.read(path, prompt_field="question", answer_field="solution")
  assert rows == [
      dict(prompt="½?", answer="0.5", level=1.0, tags='["a"]'),
      dict(prompt="1+1", answer="2", level=2.5, tags="{}"),
  ]
  assert all(type(row["level"]) is float for row in rows)


GOOD = '{"prompt": "p", "answer": "a", "n": 1}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"prompt": "\xff"}', "not UTF-8"),
        ('{"prompt": "p"', "delimiter"),
        ("[1]", "expected an object"),
        ('{"prompt": "p", "n": 1}', "'answer' is missing"),
        ('{"prompt": "p", "answer": "a"}', "'n' is missing"),
        ('{"prompt": "p", "answer": "a", "n": 1, "m": 1}', "'m' is unexpected"),
        ('{"prompt": 1, "answer": "a", "n": 1}', "'prompt' must be a string"),
        (
            '{"prompt": "p", "answer": true, "n": 1}',
            "'answer' must be a string",
        ),
        (
            '{"prompt": "p", "answer": null, "n": 1}',
            "'answer' must be a string",
        ),
        ('{"prompt": "p", "answer": "a", "n": "x"}', "'n' must be int"),
        ('{"prompt": "p", "answer": "a", "n": true}', "'n' must be int"),
        (
            '{"prompt": "p", "answer": "a", "n": null}',
            "'n' must be a string, a",
        ),
        ('{"prompt": "p", "answer": "a", "n": NaN}', "NaN is not JSON"),
        (f'{{"prompt": "p", "answer": "a", "n": {2**63}}}', "'n' .* 64-bit"),
        ('{"prompt": "p", "prompt": "q", "answer": "a"}', "'prompt' .* twice"),
        ('{"prompt": "\\ud800", "answer": "a", "n": 1}', "'prompt': .*surrog"),
        ("[" * 100_000, "recursion|nested"),
        (f'{{"prompt": "p", "answer": {"9" * 5000}, "n": 1}}', "digits"),
    ],
)
def test_errors_name_file_line_and_field(write, line, message):
  path = write(GOOD, "", line)
  with pytest.raises(ValueError, match=message) as error:
    jsonl.read(path)
  assert str(error.value).startswith(f"{path}:3: ")


def test_an_empty_file_and_a_clash_of_names_are_errors(write):
  with pytest.raises(ValueError, match="rows.jsonl: no row"):
    jsonl.read(write("", " "))
  line = json.dumps(dict(prompt="p", question="q", answer="a"))
  with pytest.raises(ValueError, match="'prompt' appears twice"):
    jsonl.read(write(line), prompt_field="question")


def test_a_list_is_streamed_whatever_its_layout(tmp_path, monkeypatch):
  rows = [{"text": "a, ]} \u00e9" * n, "n": [n, {}]} for n in range(40)]
  path = tmp_path / "rows.json"
  for chunk in (1, 7, 2**16):
    monkeypatch.setattr(jsonl, "_CHUNK", chunk)
    for layout in (dict(), dict(indent=2), dict(separators=(",", ":"))):
      path.write_text(json.dumps(rows, **layout) + "\n")
      found = list(jsonl.listed(path))
      assert [row for _, row in found] == rows
      assert found[3][0] == f"{path}, row 4"
  path.write_text("[ ]")
  assert list(jsonl.listed(path)) == [] and jsonl.is_list(path)
  path.write_text('[{"a": 1}, no json')
  first, rest = next(stream := jsonl.listed(path)), stream
  assert first[1] == {"a": 1}
  with pytest.raises(ValueError, match="rows.json, row 2: Expecting value"):
    next(rest)


@pytest.mark.parametrize(
    "text, message",
    [
        (b"", "expected a list of rows"),
        (b"[", "row 1: Expecting value"),
        (b'[{"a": 1}', "row 1: expected , or ] after a row"),
        (b'[{"a": 1} {"a": 2}]', "row 1: expected , or ] after a row"),
        (b'[{"a": 1}, 2]', "row 2: expected an object, got '2'"),
        (b'[{"a": 1, "a": 2}]', "row 1: field 'a' appears twice"),
        (b'[{"a": NaN}]', "row 1: NaN is not JSON"),
        (b"[{}] x", "row 2: more follows the list"),
        (b'[{"a": "\xff"}]', "not UTF-8"),
    ],
)
def test_a_broken_list_names_file_and_row(text, message, tmp_path):
  path = tmp_path / "rows.json"
  path.write_bytes(text)
  with pytest.raises(ValueError, match=message) as error:
    list(jsonl.listed(path))
  assert str(error.value).startswith(str(path))


def test_a_long_list_is_never_in_memory_as_a_whole(tmp_path):
  path = tmp_path / "rows.json"
  path.write_text(json.dumps([{"text": "x" * 10**5}] * 100))
  tracemalloc.start()
  try:
    assert sum(1 for _ in jsonl.listed(path)) == 100
    _, most = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  assert most < 2e6 < path.stat().st_size
