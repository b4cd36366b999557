"""Verifiers of form: a regular expression, and multiple choice.

`functools.partial` makes verifiers with other options.
"""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import answers, parsing, text

LETTERS = "ABCDEFGHIJ"

# A letter alone, in brackets, or before its delimiter, then perhaps its text.
_LABEL = re.compile(r"[(\[]?([A-Ja-j])(?:[)\].:]+(?:\s+(.*))?)?", re.DOTALL)
_SAID = re.compile(
    r"\b(?i:answer|choice|option)(?: is|:| is:)?\s*[(\[]?([A-J])(?![\w'’])"
)


def regex(
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[str],
    *,
    pattern: str | None = None,
    search: bool = False,
    flags: int = 0,
) -> list[Verdict]:
  """1 where a completion has the form of a regular expression.

  Some patterns take exponential time on some texts, which nothing inside the
  process can stop: run it in a `VerifierPool`, whose time-out can.

  Args:
    prompts: not read.
    completions: one per prompt.
    references: the patterns if `pattern` is None, otherwise not read.
    pattern: one for all.
    search: anywhere in the text, instead of the whole of it.
    flags: of `re`, such as `re.DOTALL`.

  Returns:
    Nothing is unparsable here; crashed where a reference is no pattern.

  Raises:
    ValueError: if lengths differ or `pattern` is no pattern.
  """
  text.check_lengths("regex", prompts, completions, references)
  if pattern is not None:
    try:
      re.compile(pattern, flags)
    except re.error as error:
      raise ValueError(
          f"regex: pattern must be a regular expression, got {pattern!r}: "
          f"{error}."
      ) from error
  find = re.search if search else re.fullmatch
  results = []
  for said, reference in zip(completions, references):
    try:
      found = find(reference if pattern is None else pattern, said, flags)
    except re.error as error:
      detail = f"reference {reference[:40]!r}: {error}"
      results.append(Verdict(None, Status.CRASHED, detail))
      continue
    results.append(text.binary(found is not None))
  return results


class Question(NamedTuple):
  """The right letter, and the options in their order if they are known."""

  letter: str
  options: tuple[str, ...]


def multiple_choice(
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[str],
) -> list[Verdict]:
  r"""1 where a completion chooses the right letter, or the option's text.

  The choice is read from the answer's place (`<answer>`, `\boxed{}`, `####`,
  else the last line). The first rule that applies decides:

  1. It is the text of exactly one option, whatever its case.
  2. It is a letter A .. J, alone or with its delimiter (`b`, `(B)`, `B.`),
     and perhaps a text after that (`B) Paris`); where options are known, that
     text must be the option's.
  3. In the whole text, the words "answer", "choice" or "option" are followed
     by capital letters, and they are all the same.

  Two letters, a letter with another option's text, and a text that is two
  options are ambiguous: unparsable. A letter beyond the options is wrong.

  Args:
    prompts: not read.
    completions: one per prompt.
    references: a letter, or JSON `{"answer": "B", "options": ["..", ..]}`.

  Returns:
    Unparsable where no rule applies; crashed where a reference is neither.

  Raises:
    ValueError: if lengths differ.
  """
  text.check_lengths("multiple_choice", prompts, completions, references)
  results = []
  for said, reference in zip(completions, references):
    try:
      question = _question(reference)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      detail = f"reference {reference[:40]!r}: {error}"
      results.append(Verdict(None, Status.CRASHED, detail))
      continue
    try:
      choice = read_choice(said, question.options)
    except parsing.Unreadable as error:
      results.append(Verdict(None, Status.UNPARSABLE, str(error)))
      continue
    results.append(text.binary(choice == question.letter))
  return results


def _question(reference: str) -> Question:
  letter, options = reference.strip(), ()
  if letter.startswith("{"):
    fields = json.loads(letter)
    letter = fields["answer"].strip()
    options = tuple(str(x) for x in fields["options"])
    if not 1 <= len(options) <= len(LETTERS):
      raise ValueError(f"{len(options)} options")
  letter = letter.upper()
  if letter not in tuple(LETTERS[: len(options) or None]):
    raise ValueError(f"no option {letter[:20]!r}")
  return Question(letter, options)


def read_choice(said: str, options: Sequence[str] = ()) -> str:
  """The letter that a text chooses; see `multiple_choice` for the rules.

  Raises:
    parsing.Unreadable: if it chooses none, or not clearly one.
  """
  answer = answers.extract(said).strip("*_$` \n")
  label = _LABEL.fullmatch(answer)
  matches = _same_text(answer, options)
  if len(matches) > 1:
    raise parsing.Unreadable("two options have this text")
  if matches:
    return matches.pop()
  if label:
    letter, words = label[1].upper(), label[2]
    if words and options and letter not in _same_text(words, options):
      raise parsing.Unreadable(f"{letter} with another text")
    return letter
  letters = set(_SAID.findall(said))
  if len(letters) == 1:
    return letters.pop()
  if letters:
    raise parsing.Unreadable(f"{' and '.join(sorted(letters))} are chosen")
  raise parsing.Unreadable("no choice")


def _same_text(said: str, options: Sequence[str]) -> set[str]:
  clean = lambda x: re.sub(r"\s+", " ", x).strip(" .").casefold()
  return {
      letter
      for letter, option in zip(LETTERS, options)
      if clean(option) == clean(said)
  }
