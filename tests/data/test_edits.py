import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.data import edits, list_programs
from rewardjax.diagnostics import sensitivity

flippable = pytest.mark.parametrize(
    "task", [t for t in edits.TASKS if t.flipped], ids=lambda t: t.name
)


@pytest.mark.parametrize(
    "program, expected",
    [
        ("max", 5),
        ("keep even | sum", 2),
        ("unique | descending | head 2", [5, 4]),
        ("keep odd | square | last", 9),
        ("tail 2 | reverse", [-3, -2]),
        ("tail 9 | count", 6),
        ("negate|min", -5),
        ("keep negative  |  double", [-8, -4, -6]),
        ("add -2 | keep positive", [2, 2, 3]),
        ("head 0", []),
    ],
)
def test_programs_by_hand(program, expected):
  values = [4, 4, 5, -4, -2, -3]
  assert list_programs.run(program, values) == expected
  assert values == [4, 4, 5, -4, -2, -3]
  assert list_programs.passes(program, [(values, expected)])


@pytest.mark.parametrize(
    "program, message",
    [
        ("", "unknown step ''"),
        ("max | sum", "follows a number"),
        ("keep even | keep odd | max", "empty list"),
        ("__import__('os')", "unknown step"),
        ("head -1", "0 or more"),
        ("head 9999999", "too long"),
        ("head ²", "unknown step"),
        ("square | " * 40 + "sum", "at most 32"),
        ("square | square | square | square | square", "range"),
    ],
)
def test_programs_that_cannot_run_say_why(program, message):
  with pytest.raises(list_programs.ProgramError, match=message):
    list_programs.run(program, [9, 8, 7])
  assert not list_programs.passes(program, [([9, 8, 7], 9)])


def test_deletions_are_nested_and_end_with_nothing():
  for task in edits.TASKS:
    before = task.prompt.split()
    for level in range(edits.NUM_LEVELS + 1):
      words = edits.underspecify(task.prompt, level=level, seed=3).split()
      count = len(task.prompt.split())
      assert len(words) == count - count * level // 10
      rest = iter(before)
      assert all(word in rest for word in words)  # a subsequence
      before = words
    assert not words
  with pytest.raises(ValueError, match="level must be in"):
    edits.underspecify("a b", level=11)


@flippable
def test_flips_undo_themselves_and_change_the_tests(task):
  flipped = edits.lexical_flip(task.prompt)
  assert flipped != task.prompt
  assert edits.lexical_flip(flipped) == task.prompt
  # Both directions: neither program passes the other's tests.
  original = edits.tests_of(task.program)
  changed = edits.tests_of(task.flipped)
  assert list_programs.passes(task.program, original)
  assert list_programs.passes(task.flipped, changed)
  assert not list_programs.passes(task.program, changed)
  assert not list_programs.passes(task.flipped, original)


def test_a_prompt_without_a_quantifier_has_no_flip():
  assert edits.lexical_flip("return the sum") is None
  kinds = {e.kind for e in edits.edits_of(edits.TASKS[-1])}
  assert kinds == {"underspecify", "jargon"}
  assert edits.row(edits.TASKS[-1])["tests_changed"] is None


def test_a_flip_that_no_test_sees_is_refused():
  task = edits.TASKS[0]._replace(flipped="descending | first")
  with pytest.raises(ValueError, match="the tests of 'max' do not see"):
    edits.row(task)


def test_jargon_replaces_known_words_only():
  assert edits.jargon("return the sum of x") == "yield the total of x"
  assert edits.jargon("summary") == "summary"


def test_rows_are_json_with_the_schema():
  for task in edits.TASKS:
    row = json.loads(json.dumps(edits.row(task)))
    assert row.keys() == {
        "id", "prompt", "tests_original", "tests_changed", "edits"
    }
  assert len(edits.TASKS) == 12 == len({t.name for t in edits.TASKS})


def scores_of(solver):
  found = edits.evaluate(solver)
  return sensitivity.scores(
      sensitivity.Outcomes(**jax.tree.map(jnp.asarray, found))
  )


def test_who_ignores_the_prompt_is_stale():
  found = scores_of(edits.ignores_prompt)
  assert (found.adapt, found.stale, found.retain) == (0, 1, 1)
  assert found.differential <= 0
  np.testing.assert_array_equal(found.retain_at, 1.0)


def test_who_knows_every_word_adapts_and_does_not_retain():
  found = scores_of(edits.exact)
  assert (found.adapt, found.stale) == (1, 0)
  # Nothing left out yet at a tenth of nine words; then nothing is known.
  assert found.retain_at[1] > 0 and np.all(found.retain_at[2:] == 0)
  assert 0 < found.differential < 0.5


def test_who_reads_keywords_adapts_and_loses_them_one_by_one():
  found = scores_of(edits.keyword)
  assert (found.adapt, found.stale) == (1, 0)
  levels = np.asarray(found.retain_at[1:])
  assert levels[0] > 0.8 and levels[-1] == 0
  # Nested deletions: a lost keyword stays lost.
  assert np.mean(np.diff(levels) <= 0) == 1
  assert found.differential > 0.3
