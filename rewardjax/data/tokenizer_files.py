"""Pretrained tokenizers as plain values, and the Hugging Face files of them."""

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

# What ends a turn or a text in one family or another; only special tokens of
# these names count.
_STOPS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|eom_id|>",
)


class TokenizerFiles(NamedTuple):
  """What there is to know of a tokenizer, as plain values."""

  text: str  # tokenizer.json
  eos: int
  bos: int | None
  pad: int
  stop_tokens: tuple[int, ...]
  chat_template: str | None
  context_length: int | None
  vocab_size: int | None  # of the model; None if nothing says
  # Of "eos_token", "bos_token" and "pad_token", as templates and files use.
  token_texts: dict[str, str]

  def build(self) -> Any:
    """A `tokenizers.Tokenizer`."""
    import tokenizers

    return tokenizers.Tokenizer.from_str(self.text)


def byte_symbols() -> dict[int, str]:
  """The letter that stands for each byte in a byte-level vocabulary.

  Printable bytes stand for themselves, the others in order for U+0100 on.

  References:
    Radford et al., "Language Models are Unsupervised Multitask Learners",
      2019, Sec. 2.2, as in its published code.
  """
  printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
  others = [byte for byte in range(256) if byte not in printable]
  symbols = {byte: chr(byte) for byte in printable}
  return symbols | {byte: chr(256 + i) for i, byte in enumerate(others)}


def missing_bytes(backend: Any) -> frozenset[int]:
  """Bytes that a byte-level vocabulary cannot write; the library drops them.

  Vocabularies of other kinds have tokens for bytes apart from their letters.
  """
  if "ByteLevel" not in repr(backend.pre_tokenizer):
    return frozenset()
  symbols = byte_symbols().items()
  return frozenset(
      x for x, symbol in symbols if backend.token_to_id(symbol) is None
  )


def complete(
    where: str,
    backend: Any,
    *,
    eos: int,
    bos: int | None,
    pad: int | None,
    stops: Iterable[int | None],
    **rest: Any,
) -> TokenizerFiles:
  """Adds the stop tokens, and a padding that is none of them.

  Raises:
    ValueError: if a stop token is not in the vocabulary, or nothing is left.
  """
  special = {
      token.content: i
      for i, token in backend.get_added_tokens_decoder().items()
      if token.special
  }
  named = [special[name] for name in _STOPS if name in special]
  found = {eos, *named, *(x for x in stops if x is not None)}
  wrong = [x for x in found if backend.id_to_token(x) is None]
  if wrong:
    raise ValueError(
        f"{where}: eos_token_id must be in the vocabulary, got {wrong}."
    )
  taken = found | {bos}
  if pad is None or pad in found:
    # Any id will do, masks tell what is real; a special one reads best.
    ids = [*sorted(special.values()), *range(backend.get_vocab_size())]
    pad = next((x for x in ids if x not in taken), None)
  if pad is None:
    raise ValueError(f"{where}: no token is left to pad with.")
  ids = dict(eos_token=eos, bos_token=bos, pad_token=pad)
  return TokenizerFiles(
      backend.to_str(),
      eos,
      bos,
      pad,
      tuple(sorted(found)),
      token_texts={
          name: backend.id_to_token(x)
          for name, x in ids.items()
          if x is not None
      },
      **rest,
  )


def from_folder(folder: pathlib.Path) -> TokenizerFiles:
  """Reads tokenizer.json and what stands beside it.

  Raises:
    FileNotFoundError: if there is no tokenizer.json.
    ValueError: if a file is damaged, or none says what ends a text.
  """
  import tokenizers

  where = f"load_tokenizer {folder.name}"
  path = folder / "tokenizer.json"
  if not path.exists():
    raise FileNotFoundError(f"load_tokenizer: {path} is not there.")
  try:
    backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
  except Exception as error:  # the library raises Exception itself
    raise ValueError(f"{where}: {path}: {error}.") from error
  settings = _read_json(folder / "tokenizer_config.json")
  model = _read_json(folder / "config.json")
  generation = _read_json(folder / "generation_config.json")
  ids = {name: _id(where, backend, settings, name) for name in ("eos", "bos")}
  stops = [
      x
      for file in (generation, model)
      for x in _as_list(file.get("eos_token_id"))
  ]
  if ids["eos"] is None and not stops:
    raise ValueError(
        f"{where}: eos_token of tokenizer_config.json is missing, and no other "
        "file has eos_token_id."
    )
  return complete(
      where,
      backend,
      eos=stops[0] if ids["eos"] is None else ids["eos"],
      bos=ids["bos"],
      pad=_id(where, backend, settings, "pad"),
      stops=stops,
      chat_template=_template(where, folder, settings),
      context_length=model.get("max_position_embeddings"),
      vocab_size=model.get("vocab_size"),
  )


def write(directory: pathlib.Path, files: TokenizerFiles) -> None:
  """Writes tokenizer.json, tokenizer_config.json, generation_config.json."""
  directory.mkdir(parents=True, exist_ok=True)
  put = lambda name, text: (directory / name).write_text(text, encoding="utf-8")
  settings = dict(
      tokenizer_class="PreTrainedTokenizerFast",
      clean_up_tokenization_spaces=False,
      **files.token_texts,
  )
  if files.chat_template is not None:
    settings["chat_template"] = files.chat_template
  if files.context_length is not None:
    settings["model_max_length"] = files.context_length
  generation = dict(
      eos_token_id=list(files.stop_tokens), pad_token_id=files.pad
  )
  if files.bos is not None:
    generation["bos_token_id"] = files.bos
  put("tokenizer.json", files.text)
  put("tokenizer_config.json", json.dumps(settings, indent=2) + "\n")
  put("generation_config.json", json.dumps(generation, indent=2) + "\n")


def _id(where, backend, settings: Mapping[str, Any], name: str) -> int | None:
  """Id of the token that tokenizer_config.json calls, say, eos_token."""
  text = settings.get(f"{name}_token")
  if isinstance(text, dict):
    text = text["content"]
  if text is None:
    return None
  found = backend.token_to_id(text)
  if found is None:
    raise ValueError(
        f"{where}: {name}_token {text!r} must be in the vocabulary."
    )
  return found


def _template(where, folder: pathlib.Path, settings) -> str | None:
  separate = folder / "chat_template.jinja"
  if separate.exists():
    return separate.read_text(encoding="utf-8")
  template = settings.get("chat_template")
  if isinstance(template, list):  # several, by name
    named = {x["name"]: x["template"] for x in template}
    if "default" not in named:
      raise ValueError(
          f"{where}: chat_template must have one named default, got "
          f"{sorted(named)}."
      )
    return named["default"]
  return template


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  """The object in a file; empty if there is no file."""
  if not path.exists():
    return {}
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except ValueError as error:
    raise ValueError(f"load_tokenizer: {path}: {error}.") from error


def _as_list(x) -> list[int]:
  return x if isinstance(x, list) else [] if x is None else [x]
