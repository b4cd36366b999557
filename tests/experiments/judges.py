"""Functions that judge texts in worker processes; these import only this."""

import os
import signal


def evenness(prompts, completions, **columns):
  """A coin for each text: something to learn for a model that knows nothing."""
  del prompts, columns
  return [float(sum(map(ord, text)) % 2) for text in completions]


def fragile(prompts, completions, **columns):
  """`evenness` in a worker that some problems kill."""
  if prompts and "-2" in prompts[0]:
    os.kill(os.getpid(), signal.SIGKILL)
  return evenness(prompts, completions, **columns)
