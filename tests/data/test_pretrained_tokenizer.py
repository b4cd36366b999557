"""Token ids against llama.cpp's, on a vocabulary that is stored here."""

import json
import pathlib
import pickle

import numpy as np
import pytest

from rewardjax.core import gguf_file
from rewardjax.data.pretrained_tokenizer import load_tokenizer
from rewardjax.data.tokenizers import REPLACEMENT
from tests.models import checkpoints

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens"
GOLDEN = json.loads((GOLDENS / "tokens.json").read_text())
TEMPLATE = """\
{%- for m in messages %}
  {%- if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}
<|im_start|>{{ m['role'] }}
{{ m['content'] | trim }}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
"""
USER = [{"role": "user", "content": " 1 + 1? "}]


def fields_of(pre="smollm", vocab=GOLDEN["vocab"], **changes):
  fields = {
      "llama.context_length": 64,
      "tokenizer.chat_template": TEMPLATE,
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.pre": pre,
      "tokenizer.ggml.tokens": vocab,
      "tokenizer.ggml.token_type": [3] * 3 + [1] * (len(vocab) - 3),
      "tokenizer.ggml.merges": GOLDEN["merges"],
      "tokenizer.ggml.bos_token_id": 1,
      "tokenizer.ggml.eos_token_id": 2,
      "tokenizer.ggml.padding_token_id": 2,
  }
  changes = {f"tokenizer.ggml.{name}": x for name, x in changes.items()}
  return {k: x for k, x in (fields | changes).items() if x is not None}


def make(folder, pre="smollm", **changes):
  path = folder / "model.gguf"
  checkpoints.write_gguf(path, {}, fields_of(pre, **changes))
  return load_tokenizer(path)


def write_json(path, content):
  path.write_text(json.dumps(content))


@pytest.mark.parametrize("pre", GOLDEN["ids"])
def test_ids_are_those_of_llama_cpp(tmp_path, pre):
  """Digits, `½ ²`, spaces, line ends, emoji, CJK, specials as text or not.

  Words of several digits split one by one (SmolLM, Qwen2), by threes
  (Llama 3) or not at all (GPT-2).
  """
  tokenizer = make(tmp_path, pre)
  for text, (plain, special) in zip(GOLDEN["texts"], GOLDEN["ids"][pre]):
    assert tokenizer.encode(text) == plain, text
    assert tokenizer.encode(text, special=True) == special, text
    tokens = np.array([[*plain, 5]], np.int32)
    mask = np.arange(len(plain) + 1)[None] < len(plain)
    assert tokenizer.decode_batch(tokens, mask) == [text]


def test_digits_are_split_as_each_model_learned(tmp_path):
  """By hand: what one token holds of "9876"."""
  longest = {}
  vocab = GOLDEN["vocab"] + ["98", "76", "9876", "987"]
  merges = [*GOLDEN["merges"], "9 8", "7 6", "98 7", "98 76"]
  for pre in GOLDEN["ids"]:
    tokenizer = make(tmp_path, pre, vocab=vocab, merges=merges)
    ids = tokenizer.encode("9876")
    longest[pre] = max(len(vocab[i]) for i in ids)
  assert longest == {"gpt-2": 4, "smollm": 1, "llama-bpe": 3, "qwen2": 1}


def test_words_and_accents_as_each_model_learned(tmp_path):
  """Llama 3 takes a word that no merge makes; Qwen2 composes accents.

  The latter is in Qwen2's own tokenizer.json; llama.cpp leaves it out.
  """
  vocab = [*GOLDEN["vocab"], "zqxj"]
  for pre in GOLDEN["ids"]:
    tokenizer = make(tmp_path, pre, vocab=vocab)
    whole = tokenizer.encode("zqxj") == [len(vocab) - 1]
    assert whole == (pre == "llama-bpe")
    composed = tokenizer.encode("e\u0301") == tokenizer.encode("\u00e9")
    assert composed == (pre == "qwen2")


def test_special_ids(tmp_path):
  tokenizer = make(tmp_path)
  assert (tokenizer.bos, tokenizer.eos) == (1, 2)
  # <|endoftext|> ends texts, too; padding ends nothing, here it is a letter.
  assert tokenizer.stop_tokens == (0, 2)
  assert tokenizer.pad not in (*tokenizer.stop_tokens, tokenizer.bos)
  assert tokenizer.vocab_size == tokenizer.num_text == len(GOLDEN["vocab"])
  own = make(tmp_path, padding_token_id=7, eot_token_id=9, bos_token_id=None)
  assert own.pad == 7
  assert own.stop_tokens == (0, 2, 9)
  assert own.bos is None
  with pytest.raises(ValueError, match="encode_prompts: .* has no bos"):
    own.encode_prompts(["a"], 4, add_bos=True)


def test_text_never_ends_a_turn(tmp_path):
  tokenizer = make(tmp_path)
  ids = tokenizer.encode("<|im_end|>")
  assert not set(ids) & set(tokenizer.stop_tokens)
  assert tokenizer.encode("<|im_end|>", special=True) == [2]
  assert tokenizer.decode(ids) == "<|im_end|>"


def test_decoding_ends_at_any_stop_and_shows_what_else_was_sampled(tmp_path):
  tokenizer = make(tmp_path)
  a, b = tokenizer.encode("ab")
  for stop in tokenizer.stop_tokens:
    assert tokenizer.decode([a, b, stop, b]) == "ab"
  assert tokenizer.decode([1, a, len(GOLDEN["vocab"]), -1, b]) == (
      f"<|im_start|>a{2 * REPLACEMENT}b"
  )
  pad = tokenizer.pad
  assert tokenizer.decode([pad, a, pad, pad]) == "a"
  sampled = np.array([[a, pad], [2, a]], np.int32)
  texts = tokenizer.decode_batch(sampled, np.ones((2, 2), bool))
  assert texts == ["a" + GOLDEN["vocab"][pad], ""]


def test_prompts_pad_left_and_answers_right(tmp_path):
  tokenizer = make(tmp_path)
  prompts = tokenizer.encode_prompts(["ab", ""], 4, add_bos=True)
  a, b = tokenizer.encode("ab")
  pad = tokenizer.pad
  assert prompts.tokens.tolist() == [[pad, 1, a, b], [pad, pad, pad, 1]]
  assert prompts.mask.tolist() == [[0, 1, 1, 1], [0, 0, 0, 1]]
  text = tokenizer.chat(USER)
  chat = tokenizer.encode_prompts([text], 40, special=True)
  assert chat.tokens[chat.mask].tolist() == tokenizer.encode(text, special=True)
  answers = tokenizer.encode_answers(["ab"], 4)
  assert answers.tokens.tolist() == [[a, b, 2, pad]]
  assert answers.mask.tolist() == [[1, 1, 1, 0]]


def test_rows_that_do_not_fit_are_named(tmp_path):
  """Pain 27: what does not fit is refused, never cut in silence."""
  tokenizer = make(tmp_path)
  with pytest.raises(ValueError, match="row 1 takes 3 tokens.*length is 2"):
    tokenizer.encode_prompts(["1", "123"], 2)
  with pytest.raises(ValueError, match="row 2 takes 70 .* context is 64: '111"):
    tokenizer.encode_prompts(["1", "", "1" * 70], 100)
  with pytest.raises(ValueError, match="encode_answers: row 0 takes 65 .* 64"):
    tokenizer.encode_answers(["1" * 64], 100)


def test_bytes_outside_the_vocabulary_are_named(tmp_path):
  """The library drops them: "a\\x04b" would read as "ab"."""
  symbol = "\u0104"  # of byte 4
  vocab = ["<unused>" if x == symbol else x for x in GOLDEN["vocab"]]
  assert vocab != GOLDEN["vocab"]
  tokenizer = make(tmp_path, vocab=vocab)
  assert make(tmp_path).encode("a\x04b")
  with pytest.raises(ValueError, match=r"row 1: .* no token for byte 0x04 of"):
    tokenizer.encode_prompts(["ab", "a\x04b"], 9)


def test_ids_outside_the_model_are_named(tmp_path):
  """A tokenizer that knows more than its model has rows."""
  make(tmp_path).save(tmp_path)
  ids = [max(plain, default=0) for plain, _ in GOLDEN["ids"]["smollm"]]
  size = max(ids)
  write_json(tmp_path / "config.json", dict(vocab_size=size))
  tokenizer = load_tokenizer(tmp_path)
  assert tokenizer.vocab_size == size < tokenizer.num_text
  text = GOLDEN["texts"][ids.index(size)]
  with pytest.raises(ValueError, match=f"row 1: token .* vocabulary of {size}"):
    tokenizer.encode_prompts(["a", text], 50)


def test_a_chat_is_rendered_as_the_template_says(tmp_path):
  tokenizer = make(tmp_path)
  turn = "<|im_start|>user\n1 + 1?<|im_end|>\n"
  assert tokenizer.chat(USER, add_generation_prompt=False) == turn
  assert tokenizer.chat(USER) == turn + "<|im_start|>assistant\n"


@pytest.mark.parametrize(
    "template, expected",
    [
        ("{{ eos_token }}{{ bos_token }}", "<|im_end|><|im_start|>"),
        ("{{ messages | tojson }}", '[{"role": "user", "content": "<é>"}]'),
        ("{% for m in messages %}{% break %}x{% endfor %}", ""),
        ("{{ strftime_now('%Y') | length }}", "4"),
    ],
)
def test_what_templates_are_written_against(tmp_path, template, expected):
  fields = fields_of() | {"tokenizer.chat_template": template}
  checkpoints.write_gguf(tmp_path / "model.gguf", {}, fields)
  tokenizer = load_tokenizer(tmp_path / "model.gguf")
  assert tokenizer.chat([{"role": "user", "content": "<é>"}]) == expected


@pytest.mark.parametrize(
    "template, message",
    [
        (TEMPLATE, "the template failed: no tools here"),
        ("{% if %}", "the template is damaged: "),
        ("{{ messages.__class__.__mro__ }}", "failed: access to attribute"),
        ("{{ messages.append(1) }}", "failed: .*append"),
        (None, "chat: the checkpoint has no chat template"),
    ],
)
def test_templates_that_fail(tmp_path, template, message):
  """A template is somebody else's program: it runs in a sandbox."""
  fields = fields_of() | {"tokenizer.chat_template": template}
  fields = {name: x for name, x in fields.items() if x is not None}
  checkpoints.write_gguf(tmp_path / "model.gguf", {}, fields)
  tokenizer = load_tokenizer(tmp_path / "model.gguf")
  with pytest.raises(ValueError, match=message):
    tokenizer.chat([{"role": "tool", "content": "x"}])


def test_saved_and_pickled_it_is_the_same(tmp_path):
  tokenizer = make(tmp_path)
  tokenizer.save(tmp_path / "saved")
  # Weights next to it: the path that the model loads from will do.
  (tmp_path / "saved" / "model.safetensors").touch()
  for again in (
      load_tokenizer(tmp_path / "saved"),
      load_tokenizer(tmp_path / "saved" / "model.safetensors"),
      pickle.loads(pickle.dumps(tokenizer)),
  ):
    for text in GOLDEN["texts"]:
      for special in (False, True):
        expected = tokenizer.encode(text, special=special)
        assert again.encode(text, special=special) == expected
    for name in ("pad", "bos", "eos", "stop_tokens", "vocab_size"):
      assert getattr(again, name) == getattr(tokenizer, name), name
    assert again.chat(USER) == tokenizer.chat(USER)


def test_a_folder_says_it_in_several_ways(tmp_path):
  """Tokens as objects, several stops, a template in a file, or by name."""
  make(tmp_path).save(tmp_path)
  settings = dict(
      eos_token={"content": "<|im_end|>"}, bos_token=None, pad_token="a"
  )
  write_json(tmp_path / "tokenizer_config.json", settings)
  write_json(tmp_path / "generation_config.json", dict(eos_token_id=[2, 11]))
  write_json(tmp_path / "config.json", dict(max_position_embeddings=5))
  (tmp_path / "chat_template.jinja").write_text("file")
  tokenizer = load_tokenizer(tmp_path)
  assert (tokenizer.eos, tokenizer.bos) == (2, None)
  assert tokenizer.stop_tokens == (0, 2, 11)
  assert GOLDEN["vocab"][tokenizer.pad] == "a"
  assert tokenizer.context_length == 5
  assert tokenizer.chat(USER) == "file"
  (tmp_path / "chat_template.jinja").unlink()
  named = [{"name": "tools", "template": "t"}, {"name": "default"}]
  named[1]["template"] = "d"
  write_json(
      tmp_path / "tokenizer_config.json", settings | {"chat_template": named}
  )
  assert load_tokenizer(tmp_path).chat(USER) == "d"


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(model="llama"), "ggml.model must be 'gpt2' .*, got 'llama'; g"),
        (dict(model=None), "ggml.model must be 'gpt2' .*, got None"),
        (dict(pre="tekken"), "ggml.pre must be one of gpt-2, smollm"),
        (dict(merges=None), "tokenizer.ggml.merges is missing"),
        (dict(eos_token_id=None), "tokenizer.ggml.eos_token_id is missing"),
        (dict(eos_token_id=9999), r"must be in the vocabulary, got \[9999\]"),
        (dict(token_type=[1, 1]), "distinct and have one token_type each"),
    ],
)
def test_gguf_errors_name_the_field(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    make(tmp_path, **changes)


def test_folder_errors(tmp_path):
  with pytest.raises(FileNotFoundError, match="tokenizer.json is not there"):
    load_tokenizer(tmp_path)
  with pytest.raises(FileNotFoundError, match="absent.gguf"):
    load_tokenizer(tmp_path / "absent.gguf")
  (tmp_path / "tokenizer.json").write_text("{}")
  with pytest.raises(ValueError, match="tokenizer.json: "):
    load_tokenizer(tmp_path)
  make(tmp_path).save(tmp_path)
  (tmp_path / "generation_config.json").unlink()
  write_json(tmp_path / "tokenizer_config.json", dict(eos_token="no such"))
  with pytest.raises(ValueError, match="eos_token 'no such' must be in the"):
    load_tokenizer(tmp_path)
  (tmp_path / "tokenizer_config.json").write_text("{]")
  with pytest.raises(ValueError, match="tokenizer_config.json: "):
    load_tokenizer(tmp_path)
  (tmp_path / "tokenizer_config.json").unlink()
  with pytest.raises(ValueError, match="eos_token of .* is missing"):
    load_tokenizer(tmp_path)
  write_json(tmp_path / "config.json", dict(eos_token_id=2))
  assert load_tokenizer(tmp_path).eos == 2


def test_metadata_of_every_type_is_read(tmp_path):
  """Against gguf's own writer; the tokenizer's path reads no tensor."""
  import gguf

  path = tmp_path / "model.gguf"
  writer = gguf.GGUFWriter(path, "llama")
  add = {
      "uint8": 200, "int8": -5, "uint16": 60_000, "int16": -300,
      "uint32": 4 * 10**9, "int32": -(10**9), "uint64": 2**63,
      "int64": -(2**60), "float32": 0.5, "float64": 0.1, "bool": True,
      "string": "é", "array": ["a", "bc"],
  }  # fmt: skip
  for name, value in add.items():
    getattr(writer, f"add_{name}")(name, value)
  writer.add_array("numbers", [1, 2, 3])
  writer.add_array("nested", [[1, 2], [3]])
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.close()
  found = gguf_file.open_gguf("test", path).metadata
  expected = add | dict(numbers=[1, 2, 3], nested=[[1, 2], [3]])
  expected["general.architecture"] = "llama"
  assert found == expected
