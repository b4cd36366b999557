"""Scores of benchmarks, from the scores of their rows."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rewardjax.core import checks, masking
from rewardjax.types import Scalar


def section_scores(
    metrics: Mapping[str, float],
    counts: Mapping[str, float | int],
    sections: Mapping[str, Sequence[str]],
) -> dict[str, float]:
  """sum metric * count / sum count over the subsets of each section.

  Args:
    metrics: of each subset that was measured.
    counts: the weight of each subset; not always its number of rows.
    sections: the subsets of each. Those that were not measured are skipped.

  Returns:
    By section; 0 where nothing was measured.

  Raises:
    ValueError: if a subset that was measured has no count.

  References:
    "RewardBench: Evaluating Reward Models for Language Modeling", 2024,
      arXiv:2403.13787.
  """
  scores = {}
  for section, subsets in sections.items():
    known = [subset for subset in subsets if subset in metrics]
    missing = [subset for subset in known if subset not in counts]
    if missing:
      raise ValueError(f"section_scores: counts lacks {missing[0]!r}.")
    weight = sum(counts[subset] for subset in known)
    total = sum(metrics[subset] * counts[subset] for subset in known)
    scores[section] = total / weight if weight else 0.0
  return scores


class TiesScore(NamedTuple):
  """Parts of the Ties score, and the score; each a mean over prompts.

  reference_accuracy, tied_accuracy: all right answers above all wrong ones,
    with one right answer, and with several.
  preferred: the gap exceeds the spread of the right answers.
  preferred_hard: so does the gap with one right answer.
  margin: tanh(smaller gap / spread - 1).
  score: .3, .3, .2, .2 and .01 of these; at most 1.01.
  """

  reference_accuracy: Float[Array, "*batch"]
  tied_accuracy: Float[Array, "*batch"]
  preferred: Float[Array, "*batch"]
  preferred_hard: Float[Array, "*batch"]
  margin: Float[Array, "*batch"]
  score: Float[Array, "*batch"]


def ties_score(
    reference_gaps: Float[Array, "*batch P"],
    tied_gaps: Float[Array, "*batch P"],
    tied_spreads: Float[Array, "*batch P"],
    reference_mask: Bool[Array, "*batch P"] | None = None,
    tied_mask: Bool[Array, "*batch P"] | None = None,
) -> TiesScore:
  """Several right answers should score alike, and all above the wrong ones.

  Args:
    reference_gaps: of each prompt's row with one right answer (`margins`).
    tied_gaps: of its row with several.
    tied_spreads: of the right answers of that row.
    reference_mask: True where a prompt has the former row; None means all.
    tied_mask: True where it has the latter. Only prompts with both enter
      the comparisons with the spread.

  Returns:
    `TiesScore`, float32 or wider; a mean over nothing is 0. Where the spread
    is 0 the margin has the sign of the gap.

  Raises:
    ValueError: if shapes differ.

  References:
    "RewardBench 2: Advancing Reward Model Evaluation" (Ties; the formula of
      the released scoring code).
  """
  checks.same_shape(
      "ties_score",
      reference_gaps=reference_gaps,
      tied_gaps=tied_gaps,
      tied_spreads=tied_spreads,
      reference_mask=reference_mask,
      tied_mask=tied_mask,
  )
  every = jnp.ones(tied_gaps.shape, bool)
  has_reference = every if reference_mask is None else reference_mask
  has_tied = every if tied_mask is None else tied_mask
  reference = masking.fill_masked(reference_gaps, has_reference)
  tied = masking.fill_masked(tied_gaps, has_tied)
  spread = masking.fill_masked(tied_spreads, has_tied)
  least = jnp.minimum(reference, tied)
  flat = spread == 0
  margin = jnp.tanh(least / jnp.where(flat, 1.0, spread) - 1)
  margin = jnp.where(flat, jnp.sign(least), margin)
  both = has_reference & has_tied
  mean = lambda x, mask: masking.masked_mean(x.astype(tied.dtype), mask, -1)
  parts = (
      mean(reference > 0, has_reference),
      mean(tied > 0, has_tied),
      mean(tied > spread, both),
      mean(least > spread, both),
      mean(margin, both),
  )
  weights = (0.3, 0.3, 0.2, 0.2, 0.01)
  return TiesScore(*parts, sum(w * x for w, x in zip(weights, parts)))


def first_below(
    scores: Float[Array, "*batch K"],
    mask: Bool[Array, "*batch K"] | None = None,
    *,
    threshold: Scalar,
) -> Int[Array, "*batch"]:
  """The first step whose score is below the threshold; -1 if none is.

  Args:
    scores: of steps; NaN is below.
    mask: True for real steps; None means all.
    threshold: in units of the scores.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("first_below", scores=scores, mask=mask)
  low = ~(scores >= threshold)
  low = low if mask is None else low & mask
  size = scores.shape[-1]
  places = jnp.where(low, jnp.arange(size), size)
  first = jnp.min(places, axis=-1, initial=size)
  return jnp.where(first < size, first, -1)


class ProcessF1(NamedTuple):
  """How often the first wrong step is found, and that there is none.

  f1 is their harmonic mean: 0 if either is, or if a kind has no chain.
  """

  erroneous: Float[Array, "*batch"]
  correct: Float[Array, "*batch"]
  f1: Float[Array, "*batch"]


def process_bench_f1(
    predicted: Int[Array, "*batch N"],
    labels: Int[Array, "*batch N"],
    mask: Bool[Array, "*batch N"] | None = None,
) -> ProcessF1:
  """Accuracy on chains with an error, on chains without, and their F1.

  Args:
    predicted: the first wrong step, -1 for none, such as `first_below`.
    labels: the same, true.
    mask: True for real chains; None means all.

  Returns:
    `ProcessF1`, float32.

  Raises:
    ValueError: if shapes differ.

  References:
    Zheng et al., "ProcessBench: Identifying Process Errors in Mathematical
      Reasoning", 2024, arXiv:2412.06559.
  """
  where = "process_bench_f1"
  checks.same_shape(where, predicted=predicted, labels=labels, mask=mask)
  mask = jnp.ones(labels.shape, bool) if mask is None else mask
  found = (predicted == labels).astype(jnp.float32)
  erroneous = masking.masked_mean(found, mask & (labels >= 0), -1)
  correct = masking.masked_mean(found, mask & (labels < 0), -1)
  f1 = masking.safe_divide(2 * erroneous * correct, erroneous + correct)
  return ProcessF1(erroneous, correct, f1)
