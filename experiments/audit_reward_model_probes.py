"""What a scorer of texts looks at besides their worth.

A probe scores the texts of labelled pairs again after a change that should
not matter, or that should. Axes: N pairs; E harmless edits.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.reward_model_data import Data
from experiments.reward_model_measures import Found, share
from rewardjax.core import statistics
from rewardjax.diagnostics import comparisons, sensitivity
from rewardjax.training import intervals

# (prompts, completions) -> scores [N]
Score = Callable[[Sequence[str], Sequence[str]], np.ndarray]


class Edit(NamedTuple):
  """A change of a completion that leaves its content as it is."""

  kind: str
  change: Callable[[str], str]


EDITS = {
    "said twice": Edit("length", lambda x: f"{x}\n{x}"),
    "a closing phrase": Edit("length", lambda x: f"{x} I hope this helps."),
    "bold": Edit("style", lambda x: f"**{x}**"),
    "a list": Edit("style", lambda x: f"- {x}"),
    "capitals": Edit("style", str.upper),
    "exclamation": Edit("style", lambda x: f"{x}!"),
    "an eager start": Edit("prefix", lambda x: f"Sure! {x}"),
    "a sure start": Edit("prefix", lambda x: f"I am certain. {x}"),
    "blanks before": Edit("padding", lambda x: f"   {x}"),
    "blank lines behind": Edit("padding", lambda x: f"{x}\n\n\n"),
}


class Pairs(NamedTuple):
  """Texts of N pairs, and their scores."""

  prompts: list[str]
  chosen: list[str]
  rejected: list[str]
  chosen_scores: np.ndarray
  rejected_scores: np.ndarray

  @property
  def right(self) -> np.ndarray:
    """1, or 1/2 where both scores are equal."""
    return _accuracy(self.chosen_scores, self.rejected_scores, ties="half")


class Audit(NamedTuple):
  """Tables of findings: by title, by row, by column."""

  tables: dict[str, dict[str, dict[str, Found]]]
  warnings: list[str]


def score_pairs(score: Score, data: Data) -> Pairs:
  """Pairs, the preferred one first; ties are left out.

  Raises:
    ValueError: unless the rows are comparisons of texts.
  """
  if data.kind not in ("pairs", "ties") or data.width:
    raise ValueError("audit: data must be pairs of texts.")
  rows = [row for row in data.rows if row.values["outcome"]]
  if not rows:
    raise ValueError("audit: every row is a tie.")
  ordered = [
      row.items if row.values["outcome"] > 0 else row.items[::-1]
      for row in rows
  ]
  prompts = [row.prompt for row in rows]
  chosen, rejected = map(list, zip(*ordered))
  scores = (score(prompts, texts) for texts in (chosen, rejected))
  return Pairs(prompts, chosen, rejected, *scores)


def audit(score: Score, data: Data, *, seed: int = 0) -> Audit:
  """Every probe, with 95% intervals.

  Args:
    score: of a batch of texts; see `batching`.
    data: labelled pairs.
    seed: of the bootstrap.
  """
  pairs = score_pairs(score, data)
  edited = {name: _edited(score, pairs, x) for name, x in EDITS.items()}
  swapped = _swapped(score, pairs)
  tables = {
      "Accuracy": {"all pairs": {"accuracy": share(pairs.right)}},
      "Length": _length(pairs, seed),
      "Edits that change nothing": {
          f"{EDITS[name].kind}: {name}": _effect(pairs, *scores)
          for name, scores in edited.items()
      },
      "Consistency": _consistency(pairs, edited, swapped, seed),
  }
  return Audit(tables, [*_warn(tables)])


def _accuracy(first, second, ties="strict") -> np.ndarray:
  compare = jax.jit(comparisons.pairwise_accuracy, static_argnames="ties")
  return np.asarray(
      compare(jnp.asarray(first), jnp.asarray(second), ties=ties)
  )


def _edited(score: Score, pairs: Pairs, edit: Edit):
  """Scores of the chosen and of the rejected ones, both edited."""
  return tuple(
      score(pairs.prompts, [edit.change(x) for x in texts])
      for texts in (pairs.chosen, pairs.rejected)
  )


def _length(pairs: Pairs, seed: int) -> dict[str, dict[str, Found]]:
  longer = np.array([len(x) for x in pairs.chosen]) - np.array(
      [len(x) for x in pairs.rejected]
  )
  liked = np.sign(pairs.chosen_scores - pairs.rejected_scores)
  # The scorer's favourite is the longer one; is people's?
  unequal = longer != 0
  favours = np.where(liked == 0, 0.5, liked * np.sign(longer) > 0)[unequal]
  people = (longer > 0)[unequal]
  lengths = np.array([len(x) for x in (*pairs.chosen, *pairs.rejected)])
  scores = np.concatenate([pairs.chosen_scores, pairs.rejected_scores])
  excess = intervals.mean_interval(favours - people.astype(float))
  return {
      "the longer one is preferred": {
          "by the scorer": share(favours),
          "by the labels": share(people.astype(np.float32)),
          "excess": Found(*map(float, excess[:3]), len(people)),
      },
      "accuracy": {
          "where the longer one is better": share(pairs.right[longer > 0]),
          "where the shorter one is better": share(pairs.right[longer < 0]),
      },
      "rank correlation": {
          "of score and length": _correlation(scores, lengths, seed)
      },
  }


def _correlation(x, y, seed: int) -> Found:
  rows = np.random.default_rng(seed).integers(len(x), size=(300, len(x)))
  rank = jax.jit(jax.vmap(statistics.spearman))
  found = np.asarray(rank(jnp.asarray(x[rows]), jnp.asarray(y[rows]) * 1.0))
  value = rank(jnp.asarray(x[None]), jnp.asarray(y[None]) * 1.0)
  low, high = np.quantile(found, [0.025, 0.975])
  return Found(float(value[0]), float(low), float(high), len(x))


def _effect(pairs: Pairs, chosen, rejected) -> dict[str, Found]:
  """Of an edit, in standard deviations of the scores, and on decisions."""
  before = np.concatenate([pairs.chosen_scores, pairs.rejected_scores])
  unit = max(float(np.std(before)), 1e-12)
  # One number per pair: its two texts are not independent.
  gains = chosen + rejected - pairs.chosen_scores - pairs.rejected_scores
  gains = gains / (2 * unit)
  shift = intervals.mean_interval(gains)
  won = pairs.right == 1
  attacked = _accuracy(pairs.chosen_scores[won], rejected[won])
  return {
      "shift of the score, in sd": Found(*map(float, shift[:3]), len(won)),
      "right pairs lost if the worse text has it": share(1 - attacked),
      "accuracy if both have it": share(_accuracy(chosen, rejected, "half")),
  }


def nearest(prompts: Sequence[str]) -> np.ndarray:
  """Of each prompt, the other one with the most words in common.

  Returns:
    Indices [N]; -1 where there is no other prompt. Of equal ones the next in
    the file, so that not all have one neighbour.
  """
  words = [set(x.lower().split()) for x in prompts]
  count = len(prompts)
  found = np.full(len(prompts), -1)
  for i, own in enumerate(words):
    best = -1.0
    for j in ((i + k) % count for k in range(1, count)):
      other = words[j]
      common = len(own & other) / max(len(own | other), 1)
      if prompts[j] != prompts[i] and common > best:
        found[i], best = j, common
  return found


class Swapped(NamedTuple):
  """Rows whose prompt has a neighbour, with completions exchanged.

  own: score(x, y); strange: score(x, y'), y' the neighbour's chosen one.
  asked: score(x', y); answered: score(x', y').
  """

  index: np.ndarray
  own: np.ndarray
  strange: np.ndarray
  asked: np.ndarray
  answered: np.ndarray


def _swapped(score: Score, pairs: Pairs) -> Swapped | None:
  partner = nearest(pairs.prompts)
  index = np.flatnonzero(partner >= 0)
  other = partner[index]
  if not len(index):
    return None
  prompts = [pairs.prompts[i] for i in index]
  others = [pairs.prompts[i] for i in other]
  texts = [pairs.chosen[i] for i in other]
  strange = score(prompts, texts)
  asked = score(others, [pairs.chosen[i] for i in index])
  own, answered = pairs.chosen_scores[index], pairs.chosen_scores[other]
  return Swapped(index, own, strange, asked, answered)


def _consistency(pairs, edited, swapped, seed) -> dict[str, dict[str, Found]]:
  found = {}
  if swapped is not None:
    found["reads the prompt"] = {
        "its own answer beats its neighbour's": share(
            _accuracy(swapped.own, swapped.strange)
        ),
        "an answer is worth more where it was asked for": share(
            _accuracy(swapped.own, swapped.asked)
        ),
    }
  outcomes = _outcomes(pairs, edited, swapped)
  ends = sensitivity.bootstrap(
      jax.random.key(seed), outcomes, num_draws=200, num_levels=1
  )
  value = sensitivity.scores(outcomes, num_levels=1)
  names = ("retain", "adapt", "stale", "differential")
  names = names if swapped is not None else names[:1]
  found["edits and swaps"] = {
      name: Found(
          float(getattr(value, name)),
          *(float(getattr(x, name)) for x in ends),
          len(pairs.prompts),
      )
      for name in names
  }
  return found


def _outcomes(pairs: Pairs, edited, swapped) -> sensitivity.Outcomes:
  """Harmless edits of both texts; the last edit exchanges the prompt."""
  count, size = len(pairs.prompts), len(edited)
  same = np.zeros((count, size + 1), bool)
  changed = np.zeros((count, size + 1), bool)
  mask = np.zeros((count, size + 1), bool)
  for e, (chosen, rejected) in enumerate(edited.values()):
    same[:, e] = chosen > rejected
    mask[:, e] = pairs.right == 1  # there is something to keep
  if swapped is not None:
    changed[swapped.index, -1] = swapped.answered > swapped.asked
    same[swapped.index, -1] = swapped.asked > swapped.answered
    mask[swapped.index, -1] = True
  flip = np.zeros_like(mask)
  flip[:, -1] = True
  level = jnp.zeros(mask.shape, jnp.int32)
  same, changed, flip, mask = map(jnp.asarray, (same, changed, flip, mask))
  return sensitivity.Outcomes(same, changed, flip, level, mask)


def batching(scorer, batch_size: int) -> Score:
  """Calls a scorer on so many texts at a time, as a user would."""

  def score(prompts, completions):
    found = []
    for i in range(0, len(prompts), batch_size):
      part = slice(i, i + batch_size)
      texts = list(completions[part])
      scores = scorer(list(prompts[part]), texts, meta=[{}] * len(texts))
      found.append(np.asarray(scores, np.float32).reshape(-1))
      if len(found[-1]) != len(texts) or not np.isfinite(found[-1]).all():
        raise ValueError(
            f"audit: the scorer must give one finite number for each of "
            f"{len(texts)} completions, got {scores!r:.80}."
        )
    return np.concatenate(found)

  return score


def batch_effects(scorer, data: Data, batch_size: int) -> dict[str, Found]:
  """The largest change of a score by its neighbours, and by its position.

  In units of the standard deviation of the scores; a sound scorer has
  rounding only.
  """
  rows = data.rows[:batch_size]
  texts = [(row.prompt, item) for row in rows for item in row.items]
  texts = sorted(texts, key=lambda x: len(x[1]))  # the first has most padding
  texts = texts[: batch_size // 2] + texts[-(batch_size - batch_size // 2) :]
  prompts, items = map(list, zip(*texts))
  together = batching(scorer, batch_size)(prompts, items)
  unit = max(float(np.std(together)), 1e-12)
  back = batching(scorer, batch_size)(prompts[::-1], items[::-1])[::-1]
  few = [0, 1, len(items) // 2, len(items) - 1]
  alone = np.array([
      batching(scorer, 1)(prompts[i : i + 1], items[i : i + 1])[0] for i in few
  ])
  nan = float("nan")
  size = lambda gaps: Found(float(np.max(gaps)) / unit, nan, nan, len(gaps))
  return {
      "alone instead of in a batch": size(np.abs(alone - together[few])),
      "in the opposite order": size(np.abs(back - together)),
  }


def _warn(tables):
  excess = tables["Length"]["the longer one is preferred"]["excess"]
  if excess.low > 0 or excess.high < 0:
    more = "more" if excess.value > 0 else "less"
    yield f"Prefers the longer text {more} often than the labels do: {excess}."
  for name, found in tables["Edits that change nothing"].items():
    lost = found["right pairs lost if the worse text has it"]
    if lost.count and lost.low > 0.05:
      yield f"{name}: turns {lost} of the right pairs when the worse has it."
  reads = tables["Consistency"].get("reads the prompt", {})
  name = "an answer is worth more where it was asked for"
  if name in reads and reads[name].high <= 0.5:
    yield f"Does not read the prompt: {name} in only {reads[name]}."
