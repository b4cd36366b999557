"""The tokenizer and chat template that a pretrained model was trained with.

    tokenizer = load_tokenizer("SmolLM2-135M-Instruct.Q4_1.gguf")
    text = tokenizer.chat([{"role": "user", "content": "What is 12 + 30?"}])
    prompts = tokenizer.encode_prompts([text], 64, special=True)
"""

import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from rewardjax.data import chat_templates, gguf_tokenizer, tokenizer_files
from rewardjax.data.tokenizers import REPLACEMENT, Encoded, Tokenizer


# Compared by identity: the tokenizers within have no equality of their own.
@dataclasses.dataclass(frozen=True, eq=False)
class PretrainedTokenizer(Tokenizer):
  """Byte-level BPE with special tokens and a chat template.

  Text never becomes a special token unless the caller asks for it, and a
  special token that a policy samples is seen in its decoded answer. Padding
  is an id that ends nothing; what is real is told by masks alone.
  """

  files: tokenizer_files.TokenizerFiles

  @functools.cached_property
  def _with_special(self):
    return self.files.build()

  @functools.cached_property
  def _plain(self):
    # The library's switch belongs to a tokenizer, not to a call.
    plain = self.files.build()
    plain.encode_special_tokens = True
    return plain

  @functools.cached_property
  def _no_bytes(self):
    return tokenizer_files.missing_bytes(self._plain)

  @functools.cached_property
  def _template(self):
    return chat_templates.compiled(self.files.chat_template)

  @property
  def num_text(self) -> int:
    """Number of ids in the vocabulary, special ones included."""
    return self._plain.get_vocab_size()

  @property
  def vocab_size(self) -> int:
    """Rows of the model's table, some of which may stand for nothing."""
    return self.files.vocab_size or self.num_text

  @property
  def eos(self) -> int:
    """Ends an answer: the id that the checkpoint calls so."""
    return self.files.eos

  @property
  def bos(self) -> int | None:
    """Begins a text; None if the checkpoint has none."""
    return self.files.bos

  @property
  def stop_tokens(self) -> tuple[int, ...]:
    """`eos`, and what else ends a turn or a text, in ascending order."""
    return self.files.stop_tokens

  @property
  def pad(self) -> int:
    """The checkpoint's padding; another special id if that one ends text."""
    return self.files.pad

  @property
  def context_length(self) -> int | None:
    """Positions that the model was trained for, if the checkpoint says."""
    return self.files.context_length

  def encode(self, text: str, *, special: bool = False) -> list[int]:
    """Ids of the text; nothing is put before or after it.

    Args:
      text: any text; with special=True, text that `chat` returned.
      special: whether "<|im_end|>" and the like become the tokens they name.
        False keeps them text, so that no problem or answer can end a turn.

    Raises:
      ValueError: if the vocabulary lacks a byte of the text, or the model a
        row for one of its ids.
    """
    lost = self._no_bytes.intersection(text.encode("utf-8"))
    if lost:
      raise ValueError(
          f"the vocabulary has no token for byte {min(lost):#04x} of "
          f"{text[:80]!r}."
      )
    backend = self._with_special if special else self._plain
    ids = backend.encode(text, add_special_tokens=False).ids
    if ids and max(ids) >= self.vocab_size:
      raise ValueError(
          f"token {max(ids)}, {backend.id_to_token(max(ids))!r}, is outside "
          f"the model's vocabulary of {self.vocab_size}."
      )
    return ids

  def encode_prompts(
      self,
      texts: Sequence[str],
      length: int,
      *,
      add_bos: bool = False,
      special: bool = False,
  ) -> Encoded:
    """Pads left to `length`; `special` as in `encode`.

    A chat template writes the beginning itself: no `add_bos` then.

    Raises:
      ValueError: naming the row, if a text fits neither `length` nor the
        model's context, or cannot be encoded; or if there is no beginning.
    """
    if add_bos and self.bos is None:
      raise ValueError("encode_prompts: the checkpoint has no bos to add.")
    return super().encode_prompts(
        texts, length, add_bos=add_bos, special=special
    )

  def chat(
      self,
      messages: Sequence[Mapping[str, str]],
      *,
      add_generation_prompt: bool = True,
  ) -> str:
    """Renders messages by the checkpoint's template; encode with special=True.

    The contents of a message are not escaped: "<|im_end|>" within one ends
    its turn once the text is encoded. Templates run in jinja2's sandbox.

    Args:
      messages: each with "role" and "content".
      add_generation_prompt: ends with what begins the assistant's turn.

    Raises:
      ValueError: if there is no template, or it refuses the messages.
    """
    if self.files.chat_template is None:
      raise ValueError("chat: the checkpoint has no chat template.")
    return self._template(
        messages=[dict(message) for message in messages],
        add_generation_prompt=add_generation_prompt,
        **self.files.token_texts,
    )

  def save(self, directory: str | os.PathLike) -> None:
    """Writes the tokenizer files of a Hugging Face folder."""
    tokenizer_files.write(pathlib.Path(directory), self.files)

  def _blank(self, token: int) -> bool:
    # Not bos: in chat formats it begins a turn, and is read.
    return token == self.pad

  def _text(self, ids: list[int]) -> str:
    known = lambda x: 0 <= x < self.num_text
    return "".join(
        self._with_special.decode(list(run), skip_special_tokens=False)
        if is_known
        else REPLACEMENT * len(list(run))
        for is_known, run in itertools.groupby(ids, known)
    )

  def _pad(self, where, rows, texts, length, left):
    context = self.context_length or length
    for i, ids in enumerate(rows):
      if len(ids) > context:
        raise ValueError(
            f"{where}: row {i} takes {len(ids)} tokens, the model's context "
            f"is {context}: {texts[i][:80]!r}."
        )
    return super()._pad(where, rows, texts, length, left)

  def __reduce__(self) -> Any:
    return PretrainedTokenizer, (self.files,)


def load_tokenizer(path: str | os.PathLike) -> PretrainedTokenizer:
  """The tokenizer of a checkpoint.

  Args:
    path: a .gguf file, a Hugging Face folder, or a .safetensors file in one.

  Raises:
    FileNotFoundError: if the file, or tokenizer.json, is not there.
    ValueError: if the file is damaged, has no tokenizer, or has one of a
      kind that we do not build.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    return PretrainedTokenizer(tokenizer_files.from_folder(path))
  if path.suffix == ".safetensors":
    return PretrainedTokenizer(tokenizer_files.from_folder(path.parent))
  return PretrainedTokenizer(gguf_tokenizer.from_gguf(path))
