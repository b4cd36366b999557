"""Was a benchmark in the training data? Probes of what a model remembers.

A model is shown the first part of a prompt and continues it greedily. Who
completes benchmark prompts word by word, but not fresh ones made from the
same template, has seen them.

References:
  Wu et al., "Reasoning or Memorization? Unreliable Results of Reinforcement
    Learning Due to Data Contamination", 2025, arXiv:2507.10532.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from rewardjax.core import checks
from rewardjax.core.masking import Mean
from rewardjax.types import Scalar


class Probe(NamedTuple):
  """What a model made of partial prompts; NaN or False where not valid.

  exact: the whole missing part came back.
  rouge_l: longest common subsequence with the missing part, as F1.
  answer: the answer came out right as well, greedily, whatever stood before.
  valid: long enough to be cut.
  """

  exact: Bool[Array, " N"]
  rouge_l: Float[Array, " N"]
  answer: Bool[Array, " N"]
  valid: Bool[Array, " N"]


def prefix_lengths(
    prompt_mask: Bool[Array, "N T"], *, fraction: Scalar
) -> Int[Array, " N"]:
  """How many prompt tokens are shown: floor(fraction * length).

  Raises:
    ValueError: if `fraction` is no probability.
  """
  checks.probability("prefix_lengths", fraction=fraction)
  length = jnp.sum(prompt_mask, axis=-1)
  # A tenth of a millionth: 0.6 * 5 must not round down to 2.
  shown = jnp.floor(fraction * length.astype(jnp.float32) + 1e-6)
  return shown.astype(jnp.int32)


def greedy_completion(
    apply_fn: Callable[..., Array],
    params: PyTree,
    tokens: Int[Array, "N T"],
    shown: Int[Array, " N"],
) -> Int[Array, "N T"]:
  """Keeps the first `shown` tokens of each row, then always the likeliest.

  One forward pass per position and no cache, so that any model fits.

  Args:
    apply_fn: `(params, tokens [N, T], mask [N, T]) -> logits [N, T, V]`,
      causal; logits at t predict token t + 1 (static).
    params: passed on.
    tokens: rows from position 0; what is not shown is never read.
    shown: tokens kept, at least 1 for a row that is to mean anything.

  Raises:
    ValueError: if `shown` has not one number per row.
  """
  checks.same_shape("greedy_completion", shown=shown, rows=tokens[:, 0])
  positions = jnp.arange(tokens.shape[1])[None]
  start = jnp.where(positions < shown[:, None], tokens, 0)

  def extend(t, known):
    mask = jnp.broadcast_to(positions < t, known.shape)
    logits = apply_fn(params, known, mask)
    best = jnp.argmax(logits[:, t - 1], axis=-1).astype(known.dtype)
    return known.at[:, t].set(jnp.where(t < shown, known[:, t], best))

  return jax.lax.fori_loop(1, tokens.shape[1], extend, start)


def longest_common_subsequence(
    first: Int[Array, "*batch S"],
    second: Int[Array, "*batch T"],
    first_mask: Bool[Array, "*batch S"],
    second_mask: Bool[Array, "*batch T"],
) -> Int[Array, "*batch"]:
  """Its length; masked tokens match nothing."""
  checks.same_shape("first", tokens=first, mask=first_mask)
  checks.same_shape("second", tokens=second, mask=second_mask)
  equal = first[..., :, None] == second[..., None, :]
  equal &= first_mask[..., :, None] & second_mask[..., None, :]
  batch = equal.shape[:-2]
  zero = jnp.zeros((*batch, 1), jnp.int32)

  def row(above, equal):
    # Best of skipping a token of `first`, or of matching it: the third way,
    # skipping one of `second`, is the running maximum.
    diagonal = above[..., :-1] + equal.astype(above.dtype)
    best = jnp.maximum(above[..., 1:], diagonal)
    best = jax.lax.cummax(best, axis=best.ndim - 1)
    return jnp.concatenate([zero, best], axis=-1), None

  start = jnp.zeros((*batch, second.shape[-1] + 1), jnp.int32)
  last, _ = jax.lax.scan(row, start, jnp.moveaxis(equal, -2, 0))
  return last[..., -1]


def rouge_l(
    candidate: Int[Array, "*batch S"],
    reference: Int[Array, "*batch T"],
    candidate_mask: Bool[Array, "*batch S"],
    reference_mask: Bool[Array, "*batch T"],
) -> Float[Array, "*batch"]:
  """F1 of precision and recall of the longest common subsequence.

      2 LCS / (length of candidate + length of reference), 0 if both are empty

  References:
    Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004.
  """
  common = longest_common_subsequence(
      candidate, reference, candidate_mask, reference_mask
  )
  total = jnp.sum(candidate_mask, -1) + jnp.sum(reference_mask, -1)
  total = jnp.maximum(total, 1).astype(jnp.float32)
  return 2 * common.astype(jnp.float32) / total


def partial_prompt_probe(
    apply_fn: Callable[..., Array],
    params: PyTree,
    tokens: Int[Array, "N T"],
    prompt_mask: Bool[Array, "N T"],
    answer_mask: Bool[Array, "N T"],
    *,
    fraction: Scalar,
    min_tokens: int = 10,
) -> Probe:
  """Shows the first `fraction` of each prompt and lets the model go on.

  Args:
    apply_fn: see `greedy_completion` (static).
    params: passed on.
    tokens: prompt from position 0, then its answer.
    prompt_mask: True on the tokens of the prompt.
    answer_mask: True on those of the answer, which the model must write
      after its own continuation, at the same place.
    fraction: of the prompt's tokens; 0.4, 0.6 and 0.8 in the paper.
    min_tokens: prompts with fewer are not valid (static): little is missing
      of them, and much of that is guessed.

  Raises:
    ValueError: if shapes differ or `fraction` is no probability.
  """
  where = "partial_prompt_probe"
  checks.same_shape(
      where, tokens=tokens, prompt_mask=prompt_mask, answer_mask=answer_mask
  )
  checks.at_least(where, 1, min_tokens=min_tokens)
  shown = prefix_lengths(prompt_mask, fraction=fraction)
  written = greedy_completion(apply_fn, params, tokens, shown)
  positions = jnp.arange(tokens.shape[1])[None]
  missing = prompt_mask & (positions >= shown[:, None])
  valid = (jnp.sum(prompt_mask, -1) >= min_tokens) & (shown > 0)
  valid &= jnp.any(missing, axis=-1)
  same = written == tokens
  overlap = rouge_l(written, tokens, missing, missing)
  return Probe(
      valid & jnp.all(same | ~missing, axis=-1),
      jnp.where(valid, overlap, jnp.nan),
      valid & jnp.all(same | ~answer_mask, axis=-1),
      valid,
  )


def summary(probe: Probe) -> dict[str, Mean]:
  """Means over the valid rows."""
  number = lambda x: Mean.of(x.astype(jnp.float32), probe.valid)
  return {
      "exact": number(probe.exact),
      "rouge_l": Mean.of(probe.rouge_l, probe.valid),
      "answer": number(probe.answer),
  }


def leak_score(benchmark: Probe, fresh: Probe) -> Float[Array, ""]:
  """Exact matches on the benchmark less those on fresh items, in [-1, 1].

  Fresh items show what the template alone gives away. 0 where either has no
  valid row: its mean is 0.
  """
  known = (jnp.sum(benchmark.valid) > 0) & (jnp.sum(fresh.valid) > 0)
  gap = summary(benchmark)["exact"].value - summary(fresh)["exact"].value
  return jnp.where(known, gap, 0.0)
