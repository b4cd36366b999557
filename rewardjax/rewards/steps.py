"""Scores of steps: what a judge says of each, and what a chain is worth."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking
from rewardjax.types import Scalar

Aggregation = Literal[
    "min", "max", "last", "mean", "prod", "geomean", "mean_logit", "mean_odds"
]


def aggregate_steps(
    probabilities: Float[Array, "*batch K"],
    mask: Bool[Array, "*batch K"] | None = None,
    *,
    how: Aggregation,
    clip: Scalar = 1e-6,
) -> Float[Array, "*batch"]:
  """One score of a chain from the probabilities that its steps are right.

      min, max, last, mean     of p
      prod, geomean            prod p,  (prod p)^(1 / steps)
      mean_logit               sigmoid(mean log(p / (1 - p)))
      mean_odds                mean p / (1 - p)

  A product charges a chain for every step it has: with a judge that finds a
  right step right with probability 1 - e, a right chain scores (1 - e)^steps.

  Args:
    probabilities: in [0, 1].
    mask: True for real steps with a score; None means all. The judge that
      failed on a step has p = 0.5 there, or none.
    how: static.
    clip: the last three read p within [clip, 1 - clip], where they are finite.

  Returns:
    In [0, 1], for "mean_odds" in [0, 1 / clip]; float32 or wider. A chain
    without steps scores like one step of p = 0.5.

  Gradient: flows through `probabilities`; of "min" and "max" it is shared by
  equal ones, outside the clip it is 0.

  Raises:
    ValueError: if shapes differ, or `how` is unknown.

  References:
    "Rethinking Reward Models for Multi-Domain Test-Time Scaling".
    "Evaluating Robustness of Reward Models for Mathematical Reasoning"
      (RewardMATH).
  """
  where = "aggregate_steps"
  checks.one_of(where, get_args(Aggregation), how=how)
  checks.same_shape(where, probabilities=probabilities, mask=mask)
  p = masking.as_accumulator(probabilities)
  mask = jnp.ones(p.shape, bool) if mask is None else mask
  empty = ~jnp.any(mask, axis=-1, keepdims=True)
  first = jax.lax.broadcasted_iota(jnp.int32, p.shape, p.ndim - 1) == 0
  p = jnp.where(empty & first, 0.5, masking.fill_masked(p, mask))
  return _AGGREGATE[how](p, mask | (empty & first), clip)


def _mean_of(transform):
  """The mean of a transform of clipped probabilities."""

  def aggregate(p, mask, clip):
    values = transform(jnp.clip(p, clip, 1 - clip))
    return masking.masked_mean(values, mask, -1)

  return aggregate


_AGGREGATE = {
    "min": lambda p, m, _: jnp.min(jnp.where(m, p, jnp.inf), axis=-1),
    "max": lambda p, m, _: jnp.max(jnp.where(m, p, -jnp.inf), axis=-1),
    "last": lambda p, m, _: masking.masked_sum(p, masking.last_valid(m), -1),
    "mean": lambda p, m, _: masking.masked_mean(p, m, -1),
    "prod": lambda p, m, _: jnp.prod(jnp.where(m, p, 1.0), axis=-1),
    "geomean": lambda *args: jnp.exp(_mean_of(jnp.log)(*args)),
    "mean_logit": lambda *args: jax.nn.sigmoid(
        _mean_of(lambda p: jnp.log(p) - jnp.log1p(-p))(*args)
    ),
    "mean_odds": _mean_of(lambda p: p / (1 - p)),
}


def segment_values(
    logits: Float[Array, "*batch C"], values: Float[Array, " C"]
) -> Float[Array, "*batch"]:
  """The expected value of a segment over the classes of its judge.

  With classes (right, hallucinated, not applicable) worth (1, -1, 0) a
  segment to which the question does not apply counts nothing. With classes
  (artefact, none) worth (0, 1) it is sigmoid of the difference of logits.

  Args:
    logits: of C classes.
    values: of each class, in reward units.

  Returns:
    In reward units, float32 or wider.

  Gradient: flows through both.

  Raises:
    ValueError: if the numbers of classes differ.

  References:
    "FGAIF: Aligning Large Vision-Language Models with Fine-grained AI
      Feedback" (values of the classes reconstructed).
    "Understanding Reward Hacking in Text-to-Image Reinforcement Learning".
  """
  checks.same_shape("segment_values", values=values, classes=logits[
      (0,) * (logits.ndim - 1)])
  chances = jax.nn.softmax(masking.as_accumulator(logits), axis=-1)
  values = masking.as_accumulator(values)
  return jnp.sum(chances * values.reshape((1,) * (logits.ndim - 1) + (-1,)), -1)
