"""Text to token ids and back, for models that we train from nothing.

Prompts pad left and answers pad right. Padding, beginning and end are three
different ids and none of them stands for text: a padding id that doubles as
the end of text hides the stop token from the loss.
"""

import abc
import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

# What an id that stands for no text decodes to: a policy that samples
# padding inside an answer must not be read as if it had not.
REPLACEMENT = "\ufffd"


class Encoded(NamedTuple):
  """Token ids and which of them are real; NumPy, int32 and bool."""

  tokens: Int[np.ndarray, "N L"]
  mask: Bool[np.ndarray, "N L"]


class Tokenizer(abc.ABC):
  """Ids 0 .. num_text - 1 stand for text; three more are special."""

  @property
  @abc.abstractmethod
  def num_text(self) -> int:
    """Number of ids that stand for text."""

  @abc.abstractmethod
  def encode(self, text: str) -> list[int]:
    """Ids of the text, with no special id among them."""

  @abc.abstractmethod
  def _text(self, ids: list[int]) -> str:
    """Text of ids that may lie outside 0 .. num_text - 1."""

  @property
  def pad(self) -> int:
    """Fills what the mask marks as not real."""
    return self.num_text

  @property
  def bos(self) -> int:
    """Begins a text."""
    return self.num_text + 1

  @property
  def eos(self) -> int:
    """Ends a text: the stop token."""
    return self.num_text + 2

  @property
  def stop_tokens(self) -> tuple[int, ...]:
    """Ids that end an answer; `eos` is one of them."""
    return (self.eos,)

  @property
  def vocab_size(self) -> int:
    """Number of ids, special ones included."""
    return self.num_text + 3

  def decode(self, ids: Iterable[int] | Int[np.ndarray, " L"]) -> str:
    """Text before the first end; padding and beginnings around it go.

    Inside the text they, and ids out of range, become U+FFFD.
    """
    ids = _before(list(map(int, ids)), self.stop_tokens)
    first = next((i for i, x in enumerate(ids) if not self._blank(x)), len(ids))
    while len(ids) > first and ids[-1] == self.pad:
      ids.pop()
    return self._text(ids[first:])

  def decode_batch(
      self,
      tokens: Int[np.ndarray, "*batch T"],
      mask: Bool[np.ndarray, "*batch T"],
  ) -> list[str]:
    """Texts of sampled completions, in row-major order of the leading axes.

    Everything that `mask` marks was sampled: nothing but the first end and
    what follows it is dropped, and a sampled padding id becomes U+FFFD.
    """
    rows = np.reshape(tokens, (-1, np.shape(tokens)[-1]))
    masks = np.reshape(mask, rows.shape)
    return [
        self._text(_before(row[m].tolist(), self.stop_tokens))
        for row, m in zip(rows, masks)
    ]

  def encode_prompts(
      self,
      texts: Sequence[str],
      length: int,
      *,
      add_bos: bool = False,
      **options,
  ) -> Encoded:
    """Pads left to `length`; `options` go to `encode`.

    Raises:
      ValueError: naming the row, if a text does not fit or cannot be encoded.
    """
    before = [self.bos] if add_bos else []
    found = self._encode_rows("encode_prompts", texts, **options)
    rows = [before + x for x in found]
    return self._pad("encode_prompts", rows, texts, length, left=True)

  def encode_answers(self, texts: Sequence[str], length: int) -> Encoded:
    """Appends the end, which the mask counts as real, and pads right.

    Raises:
      ValueError: naming the row, if a text and its end do not fit, or a text
        cannot be encoded.
    """
    rows = [x + [self.eos] for x in self._encode_rows("encode_answers", texts)]
    return self._pad("encode_answers", rows, texts, length, left=False)

  def _blank(self, token: int) -> bool:
    return token in (self.pad, self.bos)

  def _encode_rows(
      self, where: str, texts: Sequence[str], **options
  ) -> list[list[int]]:
    rows = []
    for i, text in enumerate(texts):
      try:
        rows.append(self.encode(text, **options))
      except ValueError as error:
        raise ValueError(f"{where}: row {i}: {error}") from error
    return rows

  def _pad(
      self,
      where: str,
      rows: list[list[int]],
      texts: Sequence[str],
      length: int,
      left: bool,
  ) -> Encoded:
    for i, ids in enumerate(rows):
      if len(ids) > length:
        raise ValueError(
            f"{where}: row {i} takes {len(ids)} tokens with its special ones, "
            f"length is {length}: {texts[i][:80]!r}."
        )
    return pad_rows(rows, length, self.pad, left=left)


def pad_rows(
    rows: Sequence[Sequence[int]], length: int, pad: int, *, left: bool
) -> Encoded:
  """Token ids of at most `length` each, padded on one side."""
  tokens = np.full((len(rows), length), pad, np.int32)
  mask = np.zeros(tokens.shape, bool)
  for i, ids in enumerate(rows):
    place = slice(length - len(ids), length) if left else slice(len(ids))
    tokens[i, place] = ids
    mask[i, place] = True
  return Encoded(tokens, mask)


@dataclasses.dataclass(frozen=True)
class ByteTokenizer(Tokenizer):
  """UTF-8 bytes: 256 text ids, then pad 256, bos 257, eos 258."""

  num_text = 256

  def encode(self, text: str) -> list[int]:
    """The bytes of the text; lone surrogates raise a ValueError."""
    return list(text.encode("utf-8"))

  def _text(self, ids: list[int]) -> str:
    parts, run = [], bytearray()
    for x in [*ids, -1]:  # the -1 flushes the last run
      if 0 <= x < self.num_text:
        run.append(x)
        continue
      parts += [run.decode("utf-8", errors="replace"), REPLACEMENT]
      run.clear()
    return "".join(parts[:-1])


@dataclasses.dataclass(frozen=True)
class CharTokenizer(Tokenizer):
  """One id per character of `alphabet`, in its order; then pad, bos, eos."""

  alphabet: str

  def __post_init__(self):
    if len(set(self.alphabet)) != len(self.alphabet) or not self.alphabet:
      raise ValueError(
          "CharTokenizer: alphabet must be distinct characters, got "
          f"{self.alphabet!r}."
      )

  @property
  def num_text(self) -> int:
    """Size of the alphabet."""
    return len(self.alphabet)

  def encode(self, text: str) -> list[int]:
    """Ids of the characters; one outside the alphabet raises ValueError."""
    ids = {char: i for i, char in enumerate(self.alphabet)}
    unknown = sorted(set(text) - set(ids))
    if unknown:
      raise ValueError(
          f"CharTokenizer: {''.join(unknown)!r} of {text[:80]!r} is not in the "
          f"alphabet {self.alphabet!r}."
      )
    return [ids[char] for char in text]

  def _text(self, ids: list[int]) -> str:
    known = range(self.num_text)
    return "".join(self.alphabet[x] if x in known else REPLACEMENT for x in ids)


def _before(ids: list[int], stops: tuple[int, ...]) -> list[int]:
  end = next((i for i, x in enumerate(ids) if x in stops), len(ids))
  return ids[:end]
