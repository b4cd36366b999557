import numpy as np
import pytest

from rewardjax.data.tokenizers import ByteTokenizer, CharTokenizer

BYTES = ByteTokenizer()
CHARS = CharTokenizer("0123456789+-*/=")
BOTH = pytest.mark.parametrize("tokenizer", [BYTES, CHARS])


@BOTH
def test_specials_are_distinct_and_stand_for_no_text(tokenizer):
  """Pain 26 (TRL #6357, #3091): pad == eos masks the stop token."""
  specials = {tokenizer.pad, tokenizer.bos, tokenizer.eos}
  assert len(specials) == 3
  assert min(specials) == tokenizer.num_text
  assert max(specials) == tokenizer.vocab_size - 1
  answers = tokenizer.encode_answers(["7", "42"], 4)
  np.testing.assert_array_equal(np.sum(answers.tokens == tokenizer.eos, -1), 1)
  assert answers.mask[answers.tokens == tokenizer.eos].all()
  assert not answers.mask[answers.tokens == tokenizer.pad].any()


def test_byte_layout():
  assert [BYTES.pad, BYTES.bos, BYTES.eos] == [256, 257, 258]
  assert BYTES.vocab_size == 259
  assert BYTES.encode("é=") == [0xC3, 0xA9, 0x3D]


@pytest.mark.parametrize("text", ["", "7+5=", "½ ² 😀\n", "\x00"])
def test_bytes_round_trip(text):
  assert BYTES.decode(BYTES.encode(text)) == text
  prompts = BYTES.encode_prompts([text], 20, add_bos=True)
  assert BYTES.decode(prompts.tokens[0]) == text
  assert BYTES.decode(BYTES.encode_answers([text], 20).tokens[0]) == text


def test_padding_by_hand():
  prompts = CHARS.encode_prompts(["7+5=", "1="], 5)
  pad, eos = CHARS.pad, CHARS.eos
  np.testing.assert_array_equal(
      prompts.tokens, [[pad, 7, 10, 5, 14], [pad, pad, pad, 1, 14]]
  )
  np.testing.assert_array_equal(
      prompts.mask, np.array([[0, 1, 1, 1, 1], [0, 0, 0, 1, 1]], bool)
  )
  answers = CHARS.encode_answers(["12", ""], 4)
  np.testing.assert_array_equal(
      answers.tokens, [[1, 2, eos, pad], [eos, pad, pad, pad]]
  )
  np.testing.assert_array_equal(
      answers.mask, np.array([[1, 1, 1, 0], [1, 0, 0, 0]], bool)
  )
  assert prompts.tokens.dtype == np.int32
  with_bos = CHARS.encode_prompts(["1="], 4, add_bos=True)
  np.testing.assert_array_equal(with_bos.tokens, [[pad, CHARS.bos, 1, 14]])


@BOTH
def test_decode_stops_at_the_first_end(tokenizer):
  ids = tokenizer.encode("12") + [tokenizer.eos] + tokenizer.encode("34")
  assert tokenizer.decode(ids) == "12"


@BOTH
def test_special_ids_inside_a_text_show(tokenizer):
  """A policy that samples padding in an answer is not read as if it hadn't."""
  one, two = tokenizer.encode("1"), tokenizer.encode("2")
  for odd in (tokenizer.pad, tokenizer.bos, tokenizer.vocab_size + 5):
    assert tokenizer.decode([*one, odd, *two]) == "1\ufffd2"


@BOTH
def test_decode_batch_reads_what_the_mask_marks(tokenizer):
  one, two = tokenizer.encode("1") + tokenizer.encode("2")
  end, pad = tokenizer.eos, tokenizer.pad
  tokens = np.array(
      [[[one, two, end], [one, end, two]], [[two] * 3, [pad] * 3]]
  )
  mask = np.array([[[1, 1, 1], [1, 1, 0]], [[1, 1, 0], [1, 1, 1]]], bool)
  expected = ["12", "1", "22", "\ufffd" * 3]
  assert tokenizer.decode_batch(tokens, mask) == expected
  mask[:] = False
  assert tokenizer.decode_batch(tokens, mask) == [""] * 4


def test_broken_utf8_does_not_raise():
  assert BYTES.decode([0xC3, 49]) == "\ufffd1"
  # A special id ends a run of bytes: the halves do not make an é.
  assert BYTES.decode([0xC3, BYTES.bos, 0xA9]) == "\ufffd" * 3


@BOTH
def test_too_long_names_the_row(tokenizer):
  with pytest.raises(ValueError, match="encode_answers: row 1 takes 4 tokens"):
    tokenizer.encode_answers(["1", "123"], 3)
  with pytest.raises(ValueError, match="encode_prompts: row 0 takes 4 tokens"):
    tokenizer.encode_prompts(["1234"], 3)


def test_unknown_characters_and_bad_alphabets_are_errors():
  with pytest.raises(ValueError, match=r"row 1: CharTokenizer: 'xy'"):
    CHARS.encode_prompts(["1", "yx1"], 4)
  with pytest.raises(ValueError, match="row 0: .*surrogates"):
    BYTES.encode_prompts(["\ud800"], 4)
  with pytest.raises(ValueError, match="distinct"):
    CharTokenizer("aa")
  with pytest.raises(ValueError, match="distinct"):
    CharTokenizer("")
