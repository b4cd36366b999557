"""The tokenizer that a GGUF file describes."""

import pathlib
from typing import Any

from rewardjax.core import gguf_file
from rewardjax.data import tokenizer_files
from rewardjax.data.tokenizer_files import TokenizerFiles

# Contractions, words, digits, signs, line ends, spaces.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
# GGUF's numbers of kinds of tokens.
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4


def from_gguf(path: pathlib.Path) -> TokenizerFiles:
  """Builds the tokenizer that a GGUF file describes.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is damaged, has no tokenizer, or one that is not
      byte-level BPE with a pre-tokenizer we know.
  """
  metadata = gguf_file.open_gguf("load_tokenizer", path).metadata
  where = f"load_tokenizer {path.name}"
  get = lambda field: metadata.get(f"tokenizer.ggml.{field}")
  if get("model") != "gpt2":
    raise ValueError(
        f"{where}: tokenizer.ggml.model must be 'gpt2' (byte-level BPE), got "
        f"{get('model')!r}; give a folder with tokenizer.json instead."
    )
  for field in ("tokens", "merges", "token_type", "eos_token_id"):
    if get(field) is None:
      raise ValueError(f"{where}: field tokenizer.ggml.{field} is missing.")
  tokens, kinds = get("tokens"), get("token_type")
  if not len(tokens) == len(kinds) == len(set(tokens)):
    raise ValueError(
        f"{where}: tokenizer.ggml.tokens must be distinct and have one "
        f"token_type each, got {len(set(tokens))} of {len(tokens)} and "
        f"{len(kinds)}."
    )
  of_kind = lambda *wanted: [x for x, k in zip(tokens, kinds) if k in wanted]
  special, user = of_kind(_UNKNOWN, _CONTROL), of_kind(_USER_DEFINED)
  backend = _bpe(where, get("pre"), tokens, get("merges"), special, user)
  kind = metadata.get("general.architecture")
  return tokenizer_files.complete(
      where,
      backend,
      eos=get("eos_token_id"),
      bos=get("bos_token_id"),
      pad=get("padding_token_id"),
      stops=[get("eot_token_id"), get("eom_token_id")],
      chat_template=metadata.get("tokenizer.chat_template"),
      context_length=metadata.get(f"{kind}.context_length"),
      vocab_size=len(tokens),
  )


def _bpe(
    where: str,
    pre: str | None,
    tokens: list[str],
    merges: list[str],
    special: list[str],
    user: list[str],
) -> Any:
  """Byte-level BPE behind one of the pre-tokenizers that GGUF names."""
  import tokenizers
  from tokenizers import normalizers, pre_tokenizers

  split = lambda pattern: [
      pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
  ]
  gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
  known = {
      "gpt-2": [gpt2],
      # Each digit is a word: "12" is never one token.
      "smollm": [pre_tokenizers.Digits(individual_digits=True), gpt2],
      "llama-bpe": split(_LLAMA3),
      "qwen2": split(_QWEN2),
  }
  pre = "gpt-2" if pre in (None, "default") else pre
  if pre not in known:
    raise ValueError(
        f"{where}: tokenizer.ggml.pre must be one of {', '.join(known)}; got "
        f"{pre!r}; give a folder with tokenizer.json instead."
    )
  backend = tokenizers.Tokenizer(
      tokenizers.models.BPE(
          vocab={token: i for i, token in enumerate(tokens)},
          merges=[tuple(merge.split(" ")) for merge in merges],
          # Llama 3 takes a word that is a token as it is.
          ignore_merges=pre == "llama-bpe",
      )
  )
  if pre == "qwen2":
    backend.normalizer = normalizers.NFC()
  backend.pre_tokenizer = pre_tokenizers.Sequence(known[pre])
  backend.decoder = tokenizers.decoders.ByteLevel()
  exact = lambda x, special: tokenizers.AddedToken(
      x, normalized=False, special=special
  )
  backend.add_special_tokens([exact(x, True) for x in special])
  backend.add_tokens([exact(x, False) for x in user])
  return backend
