import pytest

from rewardjax.data import references

OPTIONS = dict(separator=-1, end=-2, max_length=20, max_response=3)


def test_packing_round_trip():
  packed = references.pack_reference([1, 2], [3, 4, 5], [6], **OPTIONS)
  assert packed.tokens == [1, 2, 3, 4, 5, -1, 1, 2, 6, -2]
  assert packed.tokens[packed.score_position] == -2
  both = references.unpack_reference(packed, separator=-1)
  assert both == ([1, 2, 3, 4, 5], [1, 2, 6])


def test_answers_lose_their_end_and_the_prompt_its_head():
  packed = references.pack_reference(
      range(100, 120), [1, 2, 3, 4], [5, 6, 7, 8], **OPTIONS
  )
  # 20 - 2 - 6 tokens are left for two prompts.
  prompt = [114, 115, 116, 117, 118, 119]
  assert packed.tokens == [*prompt, 1, 2, 3, -1, *prompt, 5, 6, 7, -2]
  assert len(packed.tokens) == 20


def test_no_room_leaves_no_prompt():
  packed = references.pack_reference(
      [9, 9], [1, 2, 3], [4, 5, 6], **OPTIONS | {"max_length": 9}
  )
  assert packed.tokens == [1, 2, 3, -1, 4, 5, 6, -2]


def test_errors_name_arguments():
  with pytest.raises(ValueError, match=r"max_length must be in \[8, inf\]"):
    references.pack_reference([1], [2], [3], **OPTIONS | {"max_length": 7})
  twice = references.Packed([1, -1, -1, -2], 3)
  with pytest.raises(ValueError, match="must occur once, got 2 times"):
    references.unpack_reference(twice, separator=-1)
