"""A reference answer and a candidate in one text, to be compared."""

from collections.abc import Sequence
from typing import NamedTuple

from rewardjax.core import checks


class Packed(NamedTuple):
  """Token ids, and where the score is read: the last of them."""

  tokens: list[int]
  score_position: int


def pack_reference(
    prompt: Sequence[int],
    reference: Sequence[int],
    candidate: Sequence[int],
    *,
    separator: int,
    end: int,
    max_length: int,
    max_response: int,
) -> Packed:
  """prompt, reference, separator, prompt, candidate, end.

  What does not fit is cut: of each response its end, beyond `max_response`
  tokens; then of the prompt its beginning, since what was asked comes last.
  The prompt, which is there twice, gets half of the room that is left.

  Args:
    prompt: ids.
    reference: ids of an answer by the policy to be recognised, or of the best
      answer known.
    candidate: ids of the answer to be scored.
    separator: id between the two.
    end: id whose features are read.
    max_length: of the whole.
    max_response: of each of the two answers.

  Raises:
    ValueError: if two answers of `max_response` do not fit into `max_length`.

  References:
    Dou et al., "Pre-Trained Policy Discriminators are General Reward Models",
      2025, arXiv:2507.05197 (POLAR).
  """
  where = "pack_reference"
  checks.at_least(where, 1, max_response=max_response)
  checks.at_least(where, 2 * max_response + 2, max_length=max_length)
  reference = list(reference)[:max_response]
  candidate = list(candidate)[:max_response]
  room = max_length - 2 - len(reference) - len(candidate)
  # The slice from -0 would be all of it.
  prompt = list(prompt)[max(len(prompt) - room // 2, 0) :]
  tokens = [*prompt, *reference, separator, *prompt, *candidate, end]
  return Packed(tokens, len(tokens) - 1)


def unpack_reference(
    packed: Packed, *, separator: int
) -> tuple[list[int], list[int]]:
  """Prompt with reference, and prompt with candidate.

  Raises:
    ValueError: if the separator is not there exactly once.
  """
  count = packed.tokens.count(separator)
  if count != 1:
    raise ValueError(
        f"unpack_reference: separator must occur once, got {count} times."
    )
  at = packed.tokens.index(separator)
  return packed.tokens[:at], packed.tokens[at + 1 : packed.score_position]
