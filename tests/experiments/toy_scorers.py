"""Scorers for the tests of `experiments.evaluate_rewards`."""

import os
import signal

_CALLS = []


def plain(prompts, completions, **columns):
  """Fractions, so that every digit must survive the file."""
  del columns
  return [len(c) / 7 - len(p) / 3 for p, c in zip(prompts, completions)]


def dies(prompts, completions, **columns):
  """As `plain`; the process is killed at call TOY_SCORER_DIES, if it is set."""
  _CALLS.append(len(prompts))
  if len(_CALLS) == int(os.environ.get("TOY_SCORER_DIES", "0")):
    os.kill(os.getpid(), signal.SIGKILL)
  return plain(prompts, completions, **columns)


def pads(prompts, completions, **columns):
  """A model whose padding counts: scores hang on the longest of the batch."""
  del prompts, columns
  return [len(c) / max(map(len, completions)) for c in completions]


def sees(prompts, completions, meta):
  """Reads another column, the language, and raises where it is missing."""
  return [float(len(m["language"])) for m, _ in zip(meta, completions)]


def steps(prompts, completions, **columns):
  """Of prefixes: sure of the first step, less of every other."""
  del prompts, columns
  return [0.9 if "\n\n" not in c else 1 / len(c) for c in completions]


def nothing(prompts, completions, **columns):
  return [None] * len(prompts)


def takes_no_meta(prompts, completions):
  return [0.0] * len(prompts)


def longest(prompts, answers, meta):
  """A judge: the longest answer; none of two equal ones."""
  del prompts, meta
  best = []
  for shown in answers:
    sizes = sorted(map(len, shown))
    known = sizes[-1] > sizes[-2]
    best.append(max(range(len(shown)), key=lambda i: len(shown[i])) if known
                else None)
  return best
