import json
import math

import pytest

from rewardjax.data.benchmarks import answers, reading

SAMPLE = reading.sample("multi_rm")


def write(path, rows):
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return path


def test_a_question_by_hand():
  found = {row.name: row for row in answers.questions(SAMPLE)}
  row = found["math-1"]
  assert (row.domain, row.gold) == ("math", "b")
  assert row.answers == ("b", "c", "b", "a", "n/a", "b")
  assert row.ids == tuple("012345") and len(row.chains[0]) == 3
  # Without case; nothing at all is no answer either.
  assert found["math-3"].answers[0] == found["math-3"].gold == "c"
  assert found["physics-1"].answers[-1] == answers.UNPARSED


def test_chains_whole_or_step_by_step():
  read = lambda **options: list(answers.multi_rm(SAMPLE, **options))
  for whole, steps, row in zip(
      read(), read(by_step=True), answers.questions(SAMPLE), strict=True
  ):
    assert whole.id == steps.id == f"{row.domain}/{row.name}"
    assert whole.texts == tuple("\n\n".join(x) for x in row.chains)
    ends = [sum(map(len, row.chains[: i + 1])) for i in range(len(row.chains))]
    assert tuple(steps.texts[end - 1] for end in ends) == whole.texts
    assert len(steps.texts) == ends[-1]
    assert steps.texts[0] == row.chains[0][0]


@pytest.mark.parametrize(
    "name", ["law.json", "law.jsonl", "law-00000-of-00001.parquet"]
)
def test_the_domain_is_the_name_of_the_file(name, tmp_path):
  rows = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
  for row in rows:
    del row["category"]
  path = tmp_path / name
  if name.endswith(".parquet"):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
  elif name.endswith(".json"):
    path.write_text(json.dumps(rows, indent=4))
  else:
    write(path, rows)
  found = list(answers.questions(path))
  expected = answers.questions(SAMPLE)
  assert found == [row._replace(domain="law") for row in expected]


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet"])
def test_rewards_that_are_missing_are_nan(ending, tmp_path):
  rows = [{"q_id": 1, "cot_ids": ["7", "b", "9"],
           "rewards": [[0.5, None, math.nan], [1.0], None]}]
  path = tmp_path / f"law_reward.{ending}"
  if ending == "parquet":
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
  else:
    path.write_text(json.dumps(rows if ending == "json" else rows[0]))
  assert ending == "parquet" or "NaN" in path.read_text()
  ((name, found),) = answers.multi_rm_rewards(path)
  assert name == "1" and list(found) == ["7", "b", "9"]
  assert found["7"][0] == 0.5 and all(map(math.isnan, found["7"][1:]))
  assert found["b"] == (1.0,) and found["9"] == ()


ROW = {
    "q_id": 1, "cot_id": 2, "question": "How many?", "cot": ["One.", "Two."],
    "labels": [1, -1], "answer": "A", "parsed_answer": "a ",
}  # fmt: skip


def test_rows_to_train_on(tmp_path):
  rows = [ROW, ROW | {"parsed_answer": "B"}, ROW | {"parsed_answer": None},
          ROW | {"labels": []}, ROW | {"labels": None}]
  found = list(answers.multi_rm_steps(write(tmp_path / "law.jsonl", rows)))
  fields = {"prompt": "How many?", "steps": ["One.", "Two."],
            "labels": [1, 0], "source": "law"}
  assert [record.fields for record in found] == [
      fields | {"correct": True}, fields | {"correct": False}, fields
  ]
  assert found[2].place.endswith("law.jsonl:3")


@pytest.mark.parametrize(
    "read, change, message",
    [
        ("rewards", {"rewards": 1}, "'rewards' must be a list of lists of"),
        ("rewards", {"rewards": [0.5]}, "'rewards' must be a list of lists"),
        ("rewards", {"rewards": [["x"]]}, "'rewards' must be a list of lists"),
        ("rewards", {"rewards": [[math.inf]]}, "'rewards' must be a list of"),
        ("rewards", {"rewards": [[True]]}, "'rewards' must be a list of list"),
        ("rewards", {"cot_ids": [1, 2]}, "has 1 entries for 2 of 'cot_ids'"),
        ("rewards", {"q_id": None}, "'q_id' must be a string or an integer"),
        ("rewards", {"q_id": 1}, "'q_id' '1' comes twice"),
        ("steps", {"labels": [1]}, "'labels' has 1 entries for 2 of 'cot'"),
        ("steps", {"labels": [1, 0]}, "'labels' must be a list of 1 and -1"),
        ("steps", {"labels": [1, True]}, "'labels' must be a list of 1 and"),
        ("steps", {"cot": []}, "'cot' must be a list of strings"),
        ("steps", {"question": ...}, "field 'question' is missing"),
        ("steps", {"answer": []}, "'answer' must be a string, a number or"),
    ],
)
def test_errors_name_file_row_and_field(read, change, message, tmp_path):
  row = {"q_id": 1, "cot_ids": [1], "rewards": [[0.5]]}
  row = row if read == "rewards" else ROW
  second = row | {"q_id": 2} | change
  rows = [row, {k: v for k, v in second.items() if v is not ...}]
  path = write(tmp_path / "law.jsonl", rows)
  reader = getattr(answers, f"multi_rm_{read}")
  with pytest.raises(ValueError, match=message) as error:
    list(reader(path))
  assert str(error.value).startswith(f"{path}:2: ")
  assert "\n" not in str(error.value)
