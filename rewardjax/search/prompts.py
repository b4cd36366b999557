"""The question that makes a frozen judge right most often."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rewardjax.core import checks

# (question, indices of examples) -> whether the judge says yes to each
Judge = Callable[[str, np.ndarray], Sequence[bool] | np.ndarray]
# (question, indices it got wrong) -> other questions
Propose = Callable[[str, np.ndarray], Sequence[str]]


class Question(NamedTuple):
  """A question and the share of labelled examples it gets right."""

  text: str
  accuracy: float


def prompt_search(
    judge: Judge,
    propose: Propose,
    candidates: Sequence[str],
    labels: Sequence[bool] | np.ndarray,
    *,
    num_rounds: int,
    beam: int,
    batch_size: int,
    seed: int = 0,
) -> list[Question]:
  """Scores questions on minibatches, edits the best by their errors.

  Each round asks every question of the beam on a fresh minibatch, lets
  `propose` edit it in view of what it got wrong, and keeps the `beam` best
  by accuracy on that minibatch, old ones included. Runs on the host.

  Args:
    judge: called once per question and minibatch.
    propose: edits; may return none.
    candidates: to start with.
    labels: what is true of each example; a few hundred.
    num_rounds: 0 only picks among the candidates.
    beam: questions kept.
    batch_size: examples of a round, at most all.
    seed: of the minibatches.

  Returns:
    The last beam, measured on all examples, best first; equal ones in the
    order in which they came up.

  Raises:
    ValueError: if there is no candidate or a number does not fit.

  References:
    "Understanding Reward Hacking in Text-to-Image Reinforcement Learning".
    Pryzant et al., "Automatic Prompt Optimization with Gradient Descent and
      Beam Search", 2023.
  """
  where = "prompt_search"
  checks.at_least(where, 0, num_rounds=num_rounds)
  checks.at_least(where, 1, beam=beam, candidates=len(candidates))
  checks.within(where, 1, len(labels), batch_size=batch_size)
  labels = np.asarray(labels, bool)
  random = np.random.default_rng(seed)
  kept = list(dict.fromkeys(candidates))
  for _ in range(num_rounds):
    rows = np.sort(random.choice(len(labels), batch_size, replace=False))
    wrong = {q: _errors(judge, q, rows, labels) for q in kept}
    for question in kept:
      for edit in propose(question, wrong[question]):
        if edit not in wrong:
          wrong[edit] = _errors(judge, edit, rows, labels)
    # Stable: an edit must be better to take a place.
    kept = sorted(wrong, key=lambda q: len(wrong[q]))[:beam]
  everything = np.arange(len(labels))
  found = [
      Question(q, 1 - len(_errors(judge, q, everything, labels)) / len(labels))
      for q in kept
  ]
  return sorted(found, key=lambda q: -q.accuracy)[:beam]


def _errors(judge, question, rows, labels):
  said = np.asarray(judge(question, rows), bool)
  checks.same_shape("prompt_search", answers=said, examples=rows)
  return rows[said != labels[rows]]
