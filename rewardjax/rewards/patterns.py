"""Rewards of the form of reasoning, whether or not its answer is right.

What a text looks like is easily faked: it says something only about models
that can reason already, and only while nothing but its presence is counted.
"""

import collections
from collections.abc import Sequence

from rewardjax.core import checks
from rewardjax.outcomes import Status, Verdict
from rewardjax.rewards.verifiers import parsing, text

# Phrases of someone who plans, doubts, retries and concludes; lower case.
PHRASES = (
    "i need to", "we need to", "wait", "alternatively", "let me check",
    "let me see", "let's focus on", "we know that", "we can observe ",
    "we can see ", "let me try", "let's try", "let us try", "first, ",
    "firstly, ", "next, ", "finally, ", "let us first", "let's first",
    "let me first", "try again", "still not", "not working", "not correct",
    "does not work", "doesn't work", "makes sense", "since we ", "because we ",
    "consequently", "as a result", "thus", "therefore", "hence", "so that",
    "thereby", "if we", "given there ", "for instance ", "for example ",
)  # fmt: skip


def repetition(said: str, *, size: int = 20) -> float:
  """The share of distinct runs of `size` words that occur more than once.

  0 for a text with fewer words.

  Raises:
    ValueError: if `size` is less than 1.
  """
  checks.at_least("repetition", 1, size=size)
  words = said.split()
  runs = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
  counts = collections.Counter(runs).values()
  return sum(n > 1 for n in counts) / len(counts) if counts else 0.0


def form_score(
    said: str,
    *,
    phrases: Sequence[str] = PHRASES,
    cap: int = 20,
    size: int = 20,
    turn: str = "user: ",
) -> float:
  """Phrases present / cap, at most 1, less repetition and turns made up.

  A phrase counts once, however often it occurs: counting occurrences would
  pay for saying it again.

  Args:
    said: the completion; its case does not count.
    phrases: lower case.
    cap: as many phrases as make a full score.
    size: words of a run in `repetition`.
    turn: the mark of a prompt, which no completion should hold. Each costs 1.

  Returns:
    In [0, 1].

  Raises:
    ValueError: if `cap` or `size` is less than 1.

  References:
    Lv et al., "The Climb Carves Wisdom Deeper Than the Summit", 2025,
      arXiv:2505.22653 (reasoning pattern reward). Differs from the released
      code, which divides repeated runs by all runs, so that a text repeated
      more often loses less.
  """
  checks.at_least("form_score", 1, cap=cap)
  said = said.lower()
  present = sum(phrase in said for phrase in phrases)
  score = min(1.0, present / cap)
  return max(0.0, score - repetition(said, size=size) - said.count(turn))


def reasoning_form(
    prompts: Sequence[str],
    completions: Sequence[str],
    references: Sequence[str],
) -> list[Verdict]:
  """`form_score` of completions that give a readable number.

  The reference is not read: a wrong answer is paid like a right one. Where
  no number can be read the form counts nothing either: unparsable.

  Raises:
    ValueError: if lengths differ.
  """
  text.check_lengths("reasoning_form", prompts, completions, references)
  return [_verdict(said) for said in completions]


def _verdict(said: str) -> Verdict:
  try:
    parsing.read_answer(said)
  except parsing.Unreadable as error:
    return Verdict(None, Status.UNPARSABLE, str(error))
  score = form_score(said)
  return Verdict(score, Status.CORRECT if score > 0 else Status.WRONG)
