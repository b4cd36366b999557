import pytest

from rewardjax.data import steps

TEXT = "First, add.\n\nThen halve it.\n\n\n\nSo 3.5.\n\n"


def test_steps_make_up_the_text():
  found = steps.split_steps(TEXT)
  assert found == ["First, add.\n\n", "Then halve it.\n\n\n\n", "So 3.5.\n\n"]
  for text in (TEXT, "", "\n\n", "\n\nlate", "a", "a\n\nb", " \n\n \n\nx"):
    assert "".join(steps.split_steps(text)) == text
  assert steps.split_steps("\n\nlate") == ["\n\nlate"]
  assert steps.split_steps("a;b;", separator=";") == ["a;", "b;"]
  assert steps.split_steps("") == []


@pytest.mark.parametrize(
    "text, expected",
    [
        ("One. Two!  Three", ["One. ", "Two!  ", "Three"]),
        ("Pi is 3.14. So", ["Pi is 3.14. ", "So"]),
        ("By J. Smith. Yes.", ["By J. Smith. ", "Yes."]),
        ('He said "no." Then', ['He said "no." ', "Then"]),
        ("Is x = 5. Next?", ["Is x = 5. ", "Next?"]),
        ("a line\nanother", ["a line\n", "another"]),
        ("第一句。第二句！", ["第一句。", "第二句！"]),
        ("no mark", ["no mark"]),
        ("", []),
    ],
)
def test_sentences(text, expected):
  assert steps.split_sentences(text) == expected
  assert "".join(expected) == text


def test_tokens_find_their_steps():
  # "ab" "cd" | "e" "fg": the third token lies across the border.
  ids = steps.step_ids([2, 4, 5, 7, 9], ["abcd", "efg"])
  assert ids.tolist() == [0, 0, 1, 1, 2]
  across = steps.step_ids([3, 5], ["abcd", "efg"])
  assert across.tolist() == [0, 1]
  ends = steps.last_tokens([0, 0, 2, 2, 3], num_steps=3)
  assert ends.tolist() == [1, -1, 3]


def test_single_steps_then_pairs_by_hand():
  found = steps.hierarchical_examples(["a", "b", "c"], [1, 0, 1], separator="|")
  assert found == [
      ("", "a", 1), ("a|", "b", 0), ("a|b|", "c", 1),
      ("", "a|b", 0), ("a|", "b|c", 1),
  ]
  for n in range(6):
    examples = steps.hierarchical_examples("x" * n, [1] * n)
    assert len(examples) == n + max(n - 1, 0)
    assert all(x.prefix + x.block in "x" * n for x in examples)


def test_an_error_repaired_at_once_counts_as_right():
  (*_, pair) = steps.hierarchical_examples(["wrong", "repaired"], [0, 1])
  assert pair == ("", "wrongrepaired", 1.0)


def test_names_bad_arguments():
  with pytest.raises(ValueError, match="separator must not be empty"):
    steps.split_steps("a", separator="")
  with pytest.raises(ValueError, match="2 steps and 1 labels"):
    steps.hierarchical_examples(["a", "b"], [1])
  with pytest.raises(ValueError, match="num_steps must be in"):
    steps.last_tokens([0, 0], num_steps=0)
