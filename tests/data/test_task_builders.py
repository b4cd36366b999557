import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from rewardjax.data import edits, list_programs
from rewardjax.data.builders import preparation, tasks
from rewardjax.data.edit_tasks import ROWS_PER_TASK, EditTasks, score
from rewardjax.data.route_tasks import RouteTasks
from rewardjax.data.tool_tasks import ToolTasks
from rewardjax.rewards import routes
from rewardjax.rewards.verifiers import schemas, tool_calls
from rewardjax.types import Status

BUILDERS = {
    "edits": (tasks.SmallEdits, EditTasks(seed=2)),
    "routes": (tasks.Routes, RouteTasks(seed=2, num_lines=4)),
    "tools": (tasks.ToolCalls, ToolTasks(seed=2)),
}


def decoded(row):
  text = lambda x: x.decode() if isinstance(x, bytes) else x
  return {key: text(value) for key, value in row.items()}


@pytest.mark.parametrize("name", BUILDERS)
def test_rows_on_disk_are_the_items_in_order(name, tmp_path):
  builder, made = BUILDERS[name]
  config = tasks.Config(tasks=made, num_train=30, num_test=5)
  written = preparation.prepare(builder, config, tmp_path)
  train = written.as_data_source(split="train")
  test = written.as_data_source(split="test")
  assert (len(train), len(test)) == (30, 5)
  assert [decoded(train[i]) for i in (0, 17, 29)] == [
      made[i] for i in (0, 17, 29)
  ]
  prompts = {decoded(train[i])["prompt"] for i in range(30)}
  # Everything may be left out of a prompt.
  assert not prompts & {decoded(test[i])["prompt"] for i in range(5)} - {""}


@pytest.mark.parametrize("name", BUILDERS)
def test_item_depends_on_seed_split_and_index_alone(name):
  kind = type(BUILDERS[name][1])
  rows = [kind(seed=1)[i] for i in range(20)]
  assert [kind(seed=1)[i] for i in (13, 4)] == [rows[13], rows[4]]
  assert [kind(seed=2)[i] for i in range(20)] != rows
  assert [kind(seed=1, split="test")[i] for i in range(20)] != rows


def test_configs_are_told_apart_and_tfds_knows_the_builders(tmp_path):
  names = [
      tasks.Config(tasks=EditTasks()).name,
      tasks.Config(tasks=EditTasks(seed=1)).name,
      tasks.Config(tasks=ToolTasks()).name,
      tasks.Config().name,
      tasks.Config(num_train=3).name,
  ]
  assert len(set(names)) == 5
  config = tasks.Config(num_train=3, num_test=0)
  for name in ("small_edits", "routes", "tool_calls"):
    builder = tfds.builder(name, config=config, data_dir=str(tmp_path))
    assert "prompt" in builder.info.features
  with pytest.raises(ValueError, match="tasks must be of EditTasks, got Tool"):
    wrong = tasks.Config(tasks=ToolTasks())
    tasks.SmallEdits(config=wrong, data_dir=str(tmp_path))


def test_every_edited_prompt_has_its_program():
  made = EditTasks(seed=5)
  for i in range(30):
    rows = [made[ROWS_PER_TASK * i + j] for j in range(ROWS_PER_TASK)]
    kinds = [row["kind"] for row in rows]
    assert kinds == ["original", *["underspecify"] * 10, "jargon", "flip"]
    assert [row["level"] for row in rows] == [0, *range(1, 11), 0, 0]
    assert {row["task"] for row in rows} == {i}
    original, flip = rows[0], rows[-1]
    assert flip["prompt"] == edits.lexical_flip(original["prompt"])
    assert all(score(row["answer"], row)[0] for row in rows)
    # The old program passes the old tests only, and the new one the new.
    assert score(original["answer"], flip) == (False, True)
    assert score(flip["answer"], flip) == (True, False)
    assert len(json.loads(flip["tests"])) == 8


def test_programs_of_drawn_tasks_do_what_the_prompt_says():
  values = [2, -3, 5, 4, -3]
  reductions = {"largest": max, "smallest": min, "sum": sum}
  kinds = {
      "even": lambda v: v % 2 == 0, "odd": lambda v: v % 2 == 1,
      "positive": lambda v: v > 0, "negative": lambda v: v < 0,
  }
  seen = set()
  for i in range(200):
    task = EditTasks(seed=7).task(i)
    words = task.prompt.replace(",", "").split()
    reduce = [x for x in words if x in reductions]
    if not reduce:
      continue
    kind = next(x for x in words if x in kinds)
    kept = [v for v in values if kinds[kind](v)]
    if "squared" in words:
      kept = [v * v for v in kept]
    if "doubled" in words:
      kept = [v + v for v in kept]
    if "with" in words:
      kept = [v + int(words[words.index("with") + 1]) for v in kept]
    expected = reductions[reduce[0]](kept)
    assert list_programs.run(task.program, values) == expected
    seen.add((reduce[0], kind))
  assert len(seen) == 12


def test_no_task_nor_its_flip_is_in_both_splits():
  prompts = {}
  for split in ("train", "test"):
    drawn = [EditTasks(split=split).task(i).prompt for i in range(400)]
    prompts[split] = {*drawn, *map(edits.lexical_flip, drawn)}
  assert not prompts["train"] & prompts["test"]
  assert len(prompts["train"]) > 300


def test_routes_are_paid_in_full():
  made = RouteTasks(num_lines=4, stops=3, city="hard")
  rows = [made[i] for i in range(40)]
  assert {row["transfers"] for row in rows} >= {0, 1, 2}
  asked, said, known = zip(
      *[(row["prompt"], row["answer"], row["question"]) for row in rows]
  )
  found = routes.routes(asked, said, known)
  assert all(x.status == Status.CORRECT for x in found)
  # Another question's route is no route here.
  wrong = routes.routes(asked, said[1:] + said[:1], known)
  assert np.mean([x.status == Status.CORRECT for x in wrong]) < 0.1
  assert all(row["prompt"].count(":") == 4 + 1 for row in rows)


def test_tool_calls_are_what_both_verifiers_ask_for():
  made = ToolTasks(num_tools=5, most_calls=3)
  rows = [made[i] for i in range(60)]
  assert {row["num_calls"] for row in rows} == {1, 2, 3}
  asked, said, tools = zip(
      *[(row["prompt"], row["answer"], row["tools"]) for row in rows]
  )
  for verify, right in (
      (tool_calls.tool_calls, said),
      (schemas.tool_schemas, tools),
  ):
    found = verify(asked, said, right)
    assert all(x.status == Status.CORRECT for x in found)
  for row in rows:
    calls = tool_calls.parse_calls(row["answer"])
    assert len(calls) == row["num_calls"]
    assert len({call.name for call in calls}) == len(calls)
    values = [str(x) for call in calls for x in call.parameters.values()]
    assert all(x in row["prompt"].splitlines()[-1] for x in values)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (EditTasks, dict(seed=-1), "seed must be in"),
        (EditTasks, dict(num_tests=0), "num_tests must be in"),
        (EditTasks, dict(split="dev"), "split must be one of train, test"),
        (RouteTasks, dict(city="huge"), "city must be one of easy"),
        (RouteTasks, dict(stops=1), "stops must be in"),
        (ToolTasks, dict(num_tools=9), "num_tools must be in"),
        (ToolTasks, dict(most_calls=5), "most_calls must be in"),
    ],
)
def test_errors_name_the_field(kind, change, message, no_jaxtyping):
  with pytest.raises(ValueError, match=message):
    kind(**change)


@pytest.mark.parametrize("name", BUILDERS)
def test_no_item_stands_before_the_first(name):
  with pytest.raises(ValueError, match="index must be in"):
    BUILDERS[name][1][-1]
