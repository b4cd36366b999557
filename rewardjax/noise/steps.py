"""Labels of steps from few rollouts: what they get wrong, and cheap repairs.

A value is the share of completions of a prefix that end in a right answer. It
is too low where the completer is weak, and above 0 behind an error that the
completer repairs. K steps, the last axis.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rewardjax.core import checks, masking


class StepTargets(NamedTuple):
  """Soft targets of steps; only those under the mask are to be learned.

  targets: in [0, 1], 0 where masked.
  mask: True for labelled steps; nothing in a chain that was dropped.
  """

  targets: Float[Array, "*batch K"]
  mask: Bool[Array, "*batch K"]


def denoise_step_labels(
    values: Float[Array, "*batch K"],
    confidence: Float[Array, "*batch"],
    mask: Bool[Array, "*batch K"] | None = None,
    correct: Bool[Array, "*batch"] | None = None,
    *,
    distance: int = 2,
) -> StepTargets:
  """Right before the first step without a single success, softer near it.

      f = first step with value 0
      target = 1                              before f - distance
               min(1, value / confidence)     from there up to f - 1
               0                              at f; nothing is said after it

  Dividing by what the completer reaches on this problem undoes that it is
  weak; only steps near the error are doubtful.

  Args:
    values: of the prefixes that end with each step, in [0, 1]; they may stop
      (mask False) after the first 0.
    confidence: the share of the completer's own answers to the problem that
      are right. Problems where it is low, such as below 0.75, are better left
      out by the mask.
    mask: True for steps with a value; None means all.
    correct: True for chains whose answer is right: all their steps are, and
      `values` are not read, but `mask` must tell how many steps there are.
      None means that all answers are wrong.
    distance: how many steps before f are soft (static).

  Returns:
    `StepTargets`, float32 or wider. A chain with a wrong answer and without a
    value of 0 is dropped: nobody knows where it went wrong.

  Gradient: none.

  Raises:
    ValueError: if shapes do not fit, or `distance` is negative.

  References:
    "SCAN: Self-Denoising Monte Carlo Annotation for Robust Process Reward
      Learning".
  """
  where = "denoise_step_labels"
  checks.at_least(where, 0, distance=distance)
  checks.same_shape(where, values=values, mask=mask)
  checks.same_shape(
      where, confidence=confidence, correct=correct, chains=values[..., 0]
  )
  mask = jnp.ones(values.shape, bool) if mask is None else mask
  values = masking.fill_masked(values, mask)
  places = jax.lax.broadcasted_iota(jnp.int32, values.shape, values.ndim - 1)
  failed = mask & (values <= 0)
  none = values.shape[-1]
  first = jnp.min(jnp.where(failed, places, none), -1, keepdims=True)
  near = places >= first - distance
  able = masking.as_accumulator(confidence)[..., None]
  # Where nothing was ever right there is no scale: any success is a success.
  soft = jnp.where(able > 0, values / jnp.where(able > 0, able, 1.0), 1.0)
  soft = jnp.where(values > 0, jnp.minimum(soft, 1.0), 0.0)
  targets = jnp.where(near, soft, 1.0)
  kept = mask & (places <= first) & (first < none)
  if correct is not None:
    targets = jnp.where(correct[..., None], 1.0, targets)
    kept = jnp.where(correct[..., None], mask, kept)
  return StepTargets(masking.fill_masked(targets, kept), kept)


def balanced(
    right: Bool[Array, " N"], mask: Bool[Array, " N"] | None = None
) -> Bool[Array, " N"]:
  """Keeps as many right chains as wrong ones, the first of each.

  Args:
    right: which of the two a chain is.
    mask: True for chains that can be used; None means all.

  Raises:
    ValueError: if shapes differ.
  """
  checks.same_shape("balanced", right=right, mask=mask)
  mask = jnp.ones(right.shape, bool) if mask is None else mask
  classes = jnp.stack([mask & right, mask & ~right])
  seen = jnp.cumsum(classes, axis=-1)
  return jnp.any(classes & (seen <= jnp.min(seen[:, -1:])), axis=0)
