import json
import re

import numpy as np
import pytest

from rewardjax.data.benchmarks import answers, chains, lists, pairs, reading

READERS = {
    "rewardbench": pairs.rewardbench,
    "m_rewardbench": pairs.m_rewardbench,
    "vl_rewardbench": pairs.vl_rewardbench,
    "mm_rlhf": pairs.mm_rlhf,
    "rewardbench2": lists.rewardbench2,
    "rewardmath": lists.rewardmath,
    "rewardmath_pairs": lists.rewardmath_pairs,
    "process_bench": chains.process_bench,
    "multi_rm": answers.multi_rm,
}
every_reader = pytest.mark.parametrize("name", READERS)


def records(name):
  text = reading.sample(name).read_text()
  return [json.loads(line) for line in text.splitlines()]


def write(tmp_path, rows):
  path = tmp_path / "rows.jsonl"
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return path


def to_parquet(tmp_path, rows, **options):
  import pyarrow
  import pyarrow.parquet

  path = tmp_path / "rows.parquet"
  table = pyarrow.Table.from_pylist(rows)
  pyarrow.parquet.write_table(table, path, **options)
  return path


@every_reader
def test_samples_have_every_row_with_an_id_of_its_own(name):
  rows = list(READERS[name](reading.sample(name)))
  assert len(rows) == len(records(name)) == reading.count(reading.sample(name))
  assert len({row.id for row in rows}) == len(rows)
  assert all(0 <= row.num_correct <= len(row.texts) for row in rows)
  assert all(row.prompt and all(row.texts) for row in rows)


@every_reader
def test_parquet_gives_the_same_rows_from_row_groups(name, tmp_path):
  given = records(name)
  fields = {field for row in given for field in row}
  if name == "mm_rlhf":  # a column that some rows lack is null in Parquet
    given = [{field: row.get(field) for field in fields} for row in given]
  path = to_parquet(tmp_path, given, row_group_size=2)
  expected = list(READERS[name](reading.sample(name)))
  assert list(READERS[name](path)) == expected
  assert reading.count(path) == len(expected)


def test_parquet_reads_no_other_column(tmp_path):
  rows = [row | {"image": b"large"} for row in records("rewardbench")]
  path = to_parquet(tmp_path, rows)
  fields = {"id", "prompt", "not there"}
  assert [set(r.fields) for r in reading.records(path, fields)] == (
      [{"id", "prompt"}] * len(rows)
  )
  with_image = list(pairs.rewardbench(path, columns=["image"]))
  assert all(row.meta == {"image": b"large"} for row in with_image)
  assert all(row.meta == {} for row in pairs.rewardbench(path))


def test_a_large_row_group_is_not_read_at_once(tmp_path):
  import pyarrow

  draw = np.random.default_rng(0)
  row = records("rewardbench")[0]
  texts = lambda: {"prompt": draw.bytes(1000).hex()}
  rows = [row | texts() for _ in range(8000)]
  path = to_parquet(tmp_path, rows, compression="none")
  assert path.stat().st_size > 15e6
  before, most = pyarrow.total_allocated_bytes(), 0
  for _ in pairs.rewardbench(path):
    most = max(most, pyarrow.total_allocated_bytes() - before)
  assert most < 8e6


def test_rows_are_streamed(tmp_path):
  """The second row is not read before it is asked for."""
  path = tmp_path / "rows.jsonl"
  first = records("rewardbench")[0]
  path.write_text(json.dumps(first) + "\nno json\n")
  rows = pairs.rewardbench(path)
  assert next(rows).prompt == first["prompt"]
  with pytest.raises(ValueError, match=r"rows\.jsonl:2: "):
    next(rows)


def test_rewardbench_by_hand():
  row = next(iter(pairs.rewardbench(reading.sample("rewardbench"))))
  assert row.id == "alpacaeval-easy/0" and row.subset == "alpacaeval-easy"
  assert row.texts[1] == "Bread." and row.num_correct == 1


def test_languages_are_groups():
  rows = list(pairs.m_rewardbench(reading.sample("m_rewardbench")))
  assert {row.group for row in rows} == {
      "eng_Latn", "deu_Latn", "fra_Latn", "spa_Latn"
  }
  assert rows[0].id == "eng_Latn/alpacaeval-easy/0"


def test_the_better_response_comes_first_however_it_was_stored(tmp_path):
  given = records("vl_rewardbench")
  swapped = [
      row | {"response": row["response"][::-1],
             "human_ranking": row["human_ranking"][::-1]}
      for row in given
  ]
  a, b = (list(pairs.vl_rewardbench(write(tmp_path, x)))
          for x in (given, swapped))
  assert a == b
  assert [row.subset for row in a] == [row["query_source"] for row in given]
  assert a[1].texts[0] == "It rains, and people carry umbrellas."


def test_images_are_groups_and_name_their_kind():
  rows = list(pairs.mm_rlhf(reading.sample("mm_rlhf")))
  assert rows[0].group == rows[1].group == "images/mcq/street.png"
  kinds = ["mcq", "mcq", "long", "short", "video"]
  assert [row.subset for row in rows] == kinds


def test_question_stands_for_prompt(tmp_path):
  given = [
      {k if k != "prompt" else "question": v for k, v in row.items()}
      for row in records("mm_rlhf")
  ]
  expected = list(pairs.mm_rlhf(reading.sample("mm_rlhf")))
  assert list(pairs.mm_rlhf(write(tmp_path, given))) == expected


def test_right_answers_come_first_and_ties_are_told_apart():
  rows = list(lists.rewardbench2(reading.sample("rewardbench2")))
  assert rows[0].texts[0] == "Mercury is closest to the Sun."
  assert (rows[0].num_correct, len(rows[0].texts), rows[0].group) == (1, 4, "")
  (last,) = [row for row in rows if row.group == "tied:1"]
  assert last.id == "Ties/tied:1" and last.texts[:4] == ("2", "3", "5", "7")
  assert last.num_correct == 4


def test_a_chosen_answer_may_be_a_bare_string(tmp_path):
  row = records("rewardbench2")[0] | {"chosen": "one"}
  assert next(lists.rewardbench2(write(tmp_path, [row]))).texts[0] == "one"


def test_solutions_whole_or_step_by_step():
  path = reading.sample("rewardmath")
  read = lambda by_step: list(lists.rewardmath(path, by_step=by_step))
  whole, steps = read(False), read(True)
  for a, b in zip(whole, steps):
    assert a.texts == b.texts[-1:] and len(b.texts) == 3
    assert b.texts[1].startswith(b.texts[0] + "\n\n")
  assert [row.num_correct for row in whole] == ([1] + [0] * 9) * 2
  assert {row.group for row in whole} == {"1", "2"}


def test_a_pair_begins_with_the_chosen_solution_wherever_it_stood():
  rows = list(lists.rewardmath_pairs(reading.sample("rewardmath_pairs")))
  whole = list(lists.rewardmath(reading.sample("rewardmath")))
  chosen = {row.group: row.texts[0] for row in whole if row.num_correct}
  assert {r["chosen_position"] for r in records("rewardmath_pairs")} == {*"AB"}
  assert [row.texts[0] for row in rows] == [chosen[row.group] for row in rows]
  others = [row.texts[0] for row in whole if not row.num_correct]
  assert sorted(row.texts[1] for row in rows) == sorted(others)


def test_a_published_list_is_read_as_its_rows_are(tmp_path):
  path = tmp_path / "published.json"
  path.write_text(json.dumps(records("rewardmath"), indent=4))
  expected = list(lists.rewardmath(reading.sample("rewardmath")))
  assert list(lists.rewardmath(path)) == expected
  assert reading.count(path) == len(expected)


def test_chains_count_their_right_steps():
  rows = list(chains.process_bench(reading.sample("process_bench")))
  assert [(row.num_correct, len(row.texts)) for row in rows] == [
      (3, 3), (1, 3), (0, 1), (2, 2), (1, 2), (3, 3)
  ]
  assert [row.subset for row in rows] == ["gsm8k"] * 3 + ["math"] * 3


def test_a_repeated_id_is_marked(tmp_path):
  rows = records("rewardbench")[:1] * 3
  ids = [row.id for row in pairs.rewardbench(write(tmp_path, rows))]
  assert ids == [f"alpacaeval-easy/0{x}" for x in ("", "#2", "#3")]


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("rewardbench", {"chosen": None}, "field 'chosen' must be a string"),
        ("rewardbench", {"chosen": ...}, "field 'chosen' is missing"),
        ("rewardbench", {"id": 1.5}, "field 'id' must be a string or an int"),
        ("m_rewardbench", {"source": ...}, "field 'source' is missing"),
        ("m_rewardbench", {"language": ""}, "field 'language' must be a"),
        ("vl_rewardbench", {"human_ranking": [0, 0]}, r"must be \[0, 1\] or"),
        ("vl_rewardbench", {"human_ranking": 1}, r"must be \[0, 1\] or"),
        ("vl_rewardbench", {"response": ["a"]}, "must be a list of two"),
        ("vl_rewardbench", {"response": ["a", 2]}, "must be a list of two"),
        ("mm_rlhf", {"image": ...}, "field 'image' is missing"),
        ("mm_rlhf", {"prompt": ...}, "field 'prompt' is missing"),
        ("rewardbench2", {"rejected": []}, "must be a list of strings"),
        ("rewardbench2", {"rejected": [1]}, "must be a list of strings"),
        ("rewardbench2", {"num_correct": 2}, "must be 1, the number of ans"),
        ("rewardbench2", {"num_incorrect": "x"}, "must be an integer"),
        ("rewardbench2", {"subset": "Ties"}, "must be ref:<number> or tied"),
        ("rewardmath", {"solution_type": "x"}, "one of chosen, rejected"),
        ("rewardmath", {"eval_solution": 3}, "must be a list of strings"),
        ("rewardmath_pairs", {"chosen_position": "C"}, "must be one of A, B"),
        ("rewardmath_pairs", {"eval_solution_B": []}, "a list of strings"),
        ("process_bench", {"label": 3}, "place of one of 3 steps, got 3"),
        ("process_bench", {"label": True}, "field 'label' must be an integer"),
        ("multi_rm", {"q_id": ...}, "field 'q_id' is missing"),
        ("multi_rm", {"question": 1}, "field 'question' must be a string"),
        ("multi_rm", {"answer": None}, "field 'answer' is empty"),
        ("multi_rm", {"answer": ["A"]}, "'answer' must be a string or a num"),
        ("multi_rm", {"cots": [["a"], []]}, "'cots' must be a list of lists"),
        ("multi_rm", {"cots": [["a"]]}, "'cots' has 1 entries for 5 of 'cot_"),
        ("multi_rm", {"cot_ids": [0, 1, 2, 3, 3]}, "'cot_ids' names one twice"),
        ("multi_rm", {"cot_ids": []}, "'cot_ids' must be a list of names"),
        ("multi_rm", {"parsed_answers": [{}] * 5}, "'parsed_answers' must be"),
        ("multi_rm", {"parsed_answers": ["A"]}, "'parsed_answers' has 1 entr"),
        ("multi_rm", {"category": 2.5}, "field 'category' must be a string"),
    ],
)
def test_errors_name_file_row_and_field(name, change, message, tmp_path):
  rows = records(name)[:1]
  rows += [{k: v for k, v in (rows[0] | change).items() if v is not ...}]
  path = write(tmp_path, rows)
  with pytest.raises(ValueError, match=message) as error:
    list(READERS[name](path))
  assert str(error.value).startswith(f"{path}:2: ")
  assert "\n" not in str(error.value)


def test_parquet_errors_name_file_and_row(tmp_path):
  rows = [dict(row) for row in records("rewardbench") * 20]
  rows[149]["chosen"] = None
  path = to_parquet(tmp_path, rows, row_group_size=50)
  place = re.escape(f"{path}, row 150: field 'chosen'")
  with pytest.raises(ValueError, match=place):
    list(pairs.rewardbench(path))


def test_files_that_are_no_benchmark(tmp_path):
  with pytest.raises(ValueError, match=r"ends in \.jsonl, \.json or \.parquet"):
    list(pairs.rewardbench(tmp_path / "rows.csv"))
  broken = tmp_path / "rows.parquet"
  broken.write_bytes(b"no parquet at all")
  with pytest.raises(ValueError, match="rows.parquet: "):
    list(pairs.rewardbench(broken))
  with pytest.raises(OSError, match="nothing.jsonl"):
    list(pairs.rewardbench(tmp_path / "nothing.jsonl"))
  with pytest.raises(ValueError, match="name must be one of .*rewardbench2"):
    reading.sample("nothing")
